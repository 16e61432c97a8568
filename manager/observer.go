package manager

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// hintConnected notes when a client was first seen connected: it tells "inactive" from "down" after a restart.
const hintConnected = "first_connected_at"

// fewViews is up to how many instances the kernel is asked about by their ports, which mostly lie side by side; more of them
// are picked out of all.
const fewViews = 64

// watcher asks the kernel about instances.
type watcher struct {
	control []api.PortRange
	bind    netip.Addr
	sup     *supervisor.Supervisor[spec]
	log     *slog.Logger
	owners  sockets.Owners
	// fights tells whether two clients push each other out of an instance.
	fights  func(id string) bool
	healing *service.Healing
	stale   *stale
}

// look looks at instances, once for all of them.
func (w *watcher) look(ctx context.Context, views []view) (service.Assess[spec], error) {
	k, err := w.ask(ctx, views, establishedOn)
	return w.assessor(ctx, k), err
}

// lookNew is look at instances whose secrets nobody has yet: no client can be connected. To find none, the kernel would go
// through the machine's whole table of connections, which takes as long as rathole takes to start.
func (w *watcher) lookNew(ctx context.Context, views []view) (service.Assess[spec], error) {
	k, err := w.ask(ctx, views, nobodyConnected)
	return w.assessor(ctx, k), err
}

// nobodyConnected stands for a list of connections that nobody needs.
func nobodyConnected(context.Context, []api.PortRange) ([]sockets.Socket, error) { return nil, nil }

func (w *watcher) assessor(ctx context.Context, k kernelView) service.Assess[spec] {
	now := time.Now()
	return func(v view, eye service.Eye) service.Observed {
		w.noteConnection(ctx, v, k)
		ours := w.owners.Of(v.Process.PID, v.Record.UnixUID)
		w.stale.note(v, k, ours, now)
		seen := w.assess(v, k, ours, eye)
		w.healing.Explain(v.Record.ID, &seen)
		return seen
	}
}

func (w *watcher) assess(v view, k kernelView, ours *sockets.Owned, eye service.Eye) service.Observed {
	return assess(v, k, ours, eye, w.fights(v.Record.ID))
}

// ask asks the kernel about the sockets of instances; established lists the connections to control ports.
func (w *watcher) ask(
	ctx context.Context, views []view, established func(context.Context, []api.PortRange) ([]sockets.Socket, error),
) (kernelView, error) {
	control, public := w.control, []api.PortRange(nil)
	if len(views) <= fewViews {
		control = nil
		for _, v := range views {
			for s, service := range v.Record.Spec.sockets() {
				if service != "" {
					public = append(public, api.PortRange{Start: s.port, End: s.port})
					continue
				}
				control = append(control, api.PortRange{Start: s.port, End: s.port})
			}
		}
	} else {
		w.forget(views)
	}
	k := kernelView{bind: w.bind}
	connected, err := established(ctx, control)
	var listening, bound []sockets.Socket
	if err == nil {
		listening, err = sockets.List(ctx, sockets.Query{Protocol: api.TCP, States: []sockets.State{sockets.Listen}, LocalPorts: public})
	}
	if err == nil {
		bound, err = sockets.List(ctx, sockets.Query{Protocol: api.UDP, LocalPorts: public})
	}
	k.control, k.listening, k.bound = byPort(connected), byPort(listening), byPort(bound)
	return k, err
}

// forget drops what is known of processes that are gone.
func (w *watcher) forget(views []view) {
	pids := make(map[int]struct{}, len(views))
	for _, v := range views {
		pids[v.Process.PID] = struct{}{}
	}
	w.owners.Keep(pids)
}

// establishedOn lists the connections to control ports that may be control channels.
func establishedOn(ctx context.Context, control []api.PortRange) ([]sockets.Socket, error) {
	return sockets.List(ctx, sockets.Query{
		Protocol: api.TCP, States: []sockets.State{sockets.Established}, LocalPorts: control, Info: true,
		Keep: func(s sockets.Socket) bool { return engine.MayBeControlChannel(s.BytesReceived) },
	})
}

// noteConnection keeps the moment at which an instance's client was first seen.
func (w *watcher) noteConnection(ctx context.Context, v view, k kernelView) {
	if v.Hints[hintConnected] != "" || v.Record.Desired != supervisor.Running || len(k.channels(v.Record.Spec)) == 0 {
		return
	}
	if now, err := w.sup.Get(v.Record.ID); err != nil || now.Hints[hintConnected] != "" {
		return // noted since, or gone
	}
	err := w.sup.SetHint(ctx, v.Record.ID, hintConnected, time.Now().UTC().Format(time.RFC3339Nano))
	if err != nil {
		w.log.Warn("note the first connection", "id", v.Record.ID, "error", err)
	}
}

// kernelView is what the kernel says of the sockets that matter, at one moment, by local port.
type kernelView struct {
	bind      netip.Addr               // of the manager's ports: another manager may have the same numbers on another address
	control   map[int][]sockets.Socket // ESTABLISHED, local port among the control ports, perhaps control channels
	listening map[int][]sockets.Socket // TCP LISTEN
	bound     map[int][]sockets.Socket // UDP
}

func byPort(list []sockets.Socket) map[int][]sockets.Socket {
	m := make(map[int][]sockets.Socket, len(list))
	for _, s := range list {
		port := int(s.Local.Port())
		m[port] = append(m[port], s)
	}
	return m
}

// silentAfter is how long a client's machine may acknowledge nothing until its control channel counts as cut. The server
// writes to it each 5 s (rathole.HeartbeatInterval), and a network that works takes milliseconds to answer, also for a
// client that is stopped. The kernel itself gives up after a quarter of an hour.
const silentAfter = 12 * time.Second

// channels are the control channels of an instance's client, silent ones too.
func (k kernelView) channels(s spec) []sockets.Socket {
	channel := engine.ControlChannel(string(s.Transport))
	var found []sockets.Socket
	for _, c := range k.control[s.ControlPort] {
		if sockets.Overlaps(c.Local.Addr(), k.bind) && c.BytesReceived == channel.FromClient && c.BytesAcked >= channel.FromServer {
			found = append(found, c)
		}
	}
	return found
}

// connected counts the control channels of an instance's client, and how long the most silent of those is silent that do not
// count for it; 0 if there is none.
func (k kernelView) connected(s spec) (n int, silent time.Duration) {
	for _, c := range k.channels(s) {
		if c.LastAcked > silentAfter {
			silent = max(silent, c.LastAcked)
			continue
		}
		n++
	}
	return n, silent
}

// on lists who has a port, on the manager's address or on one that overlaps it.
func (k kernelView) on(s socket) []sockets.Socket {
	all := k.listening[s.port]
	if s.protocol == api.UDP {
		all = k.bound[s.port]
	}
	return slices.DeleteFunc(slices.Clone(all), func(x sockets.Socket) bool { return !sockets.Overlaps(x.Local.Addr(), k.bind) })
}
