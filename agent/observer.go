package agent

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
)

// kernelView is what the kernel says of this host's sockets, at one moment, by port.
type kernelView struct {
	dialled   map[int][]sockets.Socket // TCP ESTABLISHED, with byte counts, by remote port
	listening map[int][]sockets.Socket // TCP LISTEN, by local port
	bound     map[int][]sockets.Socket // UDP, by local port
}

// watcher asks the kernel about clients.
type watcher struct{ owners sockets.Owners }

// look asks the kernel about the sockets of clients, once for all of them.
func (w *watcher) look(ctx context.Context, views []view) (service.Assess[spec], error) {
	if len(views) > 1 {
		pids := make(map[int]struct{}, len(views))
		for _, v := range views {
			pids[v.Process.PID] = struct{}{}
		}
		w.owners.Keep(pids)
	}
	dialled, err := sockets.List(ctx, sockets.Query{
		Protocol: api.TCP, States: []sockets.State{sockets.Established}, RemotePorts: controlPorts(views), Info: true,
	})
	var listening, bound []sockets.Socket
	if err == nil {
		listening, err = sockets.List(ctx, sockets.Query{Protocol: api.TCP, States: []sockets.State{sockets.Listen}})
	}
	if err == nil {
		bound, err = sockets.List(ctx, sockets.Query{Protocol: api.UDP})
	}
	local := func(s sockets.Socket) netip.AddrPort { return s.Local }
	k := kernelView{
		dialled:   byPort(dialled, func(s sockets.Socket) netip.AddrPort { return s.Remote }),
		listening: byPort(listening, local), bound: byPort(bound, local),
	}
	return func(v view, eye service.Eye) service.Observed {
		return assess(v, k, w.owners.Of(v.Process.PID, v.Record.UnixUID), eye)
	}, err
}

func byPort(list []sockets.Socket, end func(sockets.Socket) netip.AddrPort) map[int][]sockets.Socket {
	m := make(map[int][]sockets.Socket, len(list))
	for _, s := range list {
		port := int(end(s).Port())
		m[port] = append(m[port], s)
	}
	return m
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

// remotePort is the control port that a client dials, 0 if its config has none that can be read.
func (s spec) remotePort() int {
	_, text, err := net.SplitHostPort(s.RemoteAddr)
	port, bad := strconv.Atoi(text)
	if err != nil || bad != nil {
		return 0
	}
	return port
}
