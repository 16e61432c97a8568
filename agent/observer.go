package agent

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// kernelView is what the kernel says of this host's sockets, at one moment, by port.
type kernelView struct {
	here      *machine
	dialled   map[int][]sockets.Socket // TCP ESTABLISHED, perhaps control channels, and SYN_SENT, by remote port
	listening map[int][]sockets.Socket // TCP LISTEN, by local port
	bound     map[int][]sockets.Socket // UDP, by local port
	// justStarted: the engines are so new that nobody has looked whether they are connected.
	justStarted bool
}

// watcher asks the kernel about clients.
type watcher struct {
	owners  sockets.Owners
	healing *service.Healing
	links   *links
	here    machine
	remotes
}

// look asks the kernel about the sockets of clients, once for all of them.
func (w *watcher) look(ctx context.Context, views []view) (service.Assess[spec], error) {
	dialled, err := dialledTo(ctx, controlPorts(views))
	if err != nil {
		return nil, err
	}
	k, err := w.around(ctx, views)
	k.dialled = byPort(dialled, remote)
	return w.assessor(k), err
}

// lookNew is look at clients that were started just now, which says nothing of their connections: for these the kernel goes through
// the machine's whole table, which takes as long as rathole takes to start, and finds none yet.
func (w *watcher) lookNew(ctx context.Context, views []view) (service.Assess[spec], error) {
	k, err := w.around(ctx, views)
	k.justStarted = true
	return w.assessor(k), err
}

// around asks the kernel for what listens where the clients' services point.
func (w *watcher) around(ctx context.Context, views []view) (kernelView, error) {
	if len(views) > 1 {
		pids := make(map[int]struct{}, len(views))
		for _, v := range views {
			pids[v.Process.PID] = struct{}{}
		}
		w.owners.Keep(pids)
	}
	games := localPorts(views)
	listening, err := sockets.List(ctx, sockets.Query{Protocol: api.TCP, States: []sockets.State{sockets.Listen}, LocalPorts: games})
	var bound []sockets.Socket
	if err == nil {
		bound, err = sockets.List(ctx, sockets.Query{Protocol: api.UDP, LocalPorts: games})
	}
	return kernelView{here: &w.here, listening: byPort(listening, local), bound: byPort(bound, local)}, err
}

func (w *watcher) assessor(k kernelView) service.Assess[spec] {
	now := time.Now()
	return func(v view, eye service.Eye) service.Observed {
		ours := w.owners.Of(v.Process.PID, v.Record.UnixUID)
		if !k.justStarted {
			w.links.note(v, k, ours, now)
		}
		seen := assess(v, k, ours, eye)
		w.healing.Explain(v.Record.ID, &seen)
		if seen.RTT > 0 {
			w.saw(v.Record.Spec.remoteHost())
		}
		return seen
	}
}

// dialledTo lists the connections to control ports of servers that may be control channels.
func dialledTo(ctx context.Context, ports []api.PortRange) ([]sockets.Socket, error) {
	return sockets.List(ctx, sockets.Query{
		Protocol: api.TCP, States: []sockets.State{sockets.Established, sockets.SynSent}, RemotePorts: ports, Info: true,
		Keep: func(s sockets.Socket) bool {
			return s.State == sockets.SynSent || engine.MayBeControlChannel(s.BytesAcked-dialledSYN)
		},
	})
}

// channelsOf lists a client's control channels at this moment. They are counted exactly, so the process itself is asked for
// its sockets, and its user, whom another agent on this machine may use as well, only if that is not allowed.
func channelsOf(ctx context.Context, rec record, p supervisor.Process) ([]sockets.Socket, error) {
	ours, err := sockets.Of(p.PID, 0)
	if errors.Is(err, fs.ErrPermission) {
		ours, err = sockets.Of(p.PID, rec.UnixUID)
	}
	if err != nil {
		return nil, err
	}
	port := rec.Spec.remotePort()
	dialled, err := dialledTo(ctx, []api.PortRange{{Start: port, End: port}})
	channels, _ := kernelView{dialled: byPort(dialled, remote)}.channels(rec.Spec, ours)
	return channels, err
}

func local(s sockets.Socket) netip.AddrPort  { return s.Local }
func remote(s sockets.Socket) netip.AddrPort { return s.Remote }

func byPort(list []sockets.Socket, end func(sockets.Socket) netip.AddrPort) map[int][]sockets.Socket {
	m := make(map[int][]sockets.Socket, len(list))
	for _, s := range list {
		port := int(end(s).Port())
		m[port] = append(m[port], s)
	}
	return m
}

// dialledSYN is the byte by which the kernel's count of acknowledged bytes is larger at the end that dialled: its SYN.
const dialledSYN = 1

// channels are a client's control channels, and its connects that have had no answer yet. As seen from here, what the server
// has received was acknowledged, and what it has sent was received.
func (k kernelView) channels(s spec, ours func(sockets.Socket) bool) (channels, dialling []sockets.Socket) {
	channel := engine.ControlChannel(s.Transport)
	server, name := netip.ParseAddr(s.remoteHost())
	for _, c := range k.dialled[s.remotePort()] {
		if name == nil && c.Remote.Addr() != server.Unmap() {
			continue // of another agent on this machine, whose engines may run as the same users
		}
		switch {
		case !ours(c):
		case c.State == sockets.SynSent:
			dialling = append(dialling, c)
		case c.BytesAcked == channel.FromClient+dialledSYN && c.BytesReceived >= channel.FromServer:
			channels = append(channels, c)
		}
	}
	return channels, dialling
}

func (k kernelView) listensOn(proto api.Protocol, addr netip.AddrPort) bool {
	all := k.listening
	if proto == api.UDP {
		all = k.bound
	}
	return slices.ContainsFunc(all[int(addr.Port())], func(s sockets.Socket) bool {
		return s.Remote.Port() == 0 && sockets.Overlaps(s.Local.Addr(), addr.Addr())
	})
}

// controlPorts are the remote ports of clients, for the kernel's filter.
func controlPorts(views []view) []api.PortRange {
	ports := map[int]bool{}
	for _, v := range views {
		ports[v.Record.Spec.remotePort()] = true
	}
	ranges := make([]api.PortRange, 0, len(ports))
	for _, p := range slices.Sorted(maps.Keys(ports)) {
		ranges = append(ranges, api.PortRange{Start: p, End: p})
	}
	return ranges
}

// localPorts are those to which the services of clients point; nil, which stands for all, if that cannot be told or if there are
// so many that the kernel's filter would let most sockets through.
func localPorts(views []view) []api.PortRange {
	var ports []api.PortRange
	for _, v := range views {
		for _, svc := range v.Record.Spec.Services {
			if addr, err := svc.address(); err == nil {
				ports = append(ports, api.PortRange{Start: int(addr.Port()), End: int(addr.Port())})
			}
			if len(ports) > fewGames {
				return nil
			}
		}
	}
	return ports
}

// remotePort is the control port that a client dials, 0 if its config has none that can be read.
func (s spec) remotePort() int {
	_, text, err := net.SplitHostPort(s.RemoteAddr)
	port, bad := strconv.Atoi(text)
	if err != nil || bad != nil {
		return 0
	}
	return port
}
