package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

const (
	// gamePeriod is how often the sockets of games are looked at: players of a game that was restarted wait so much longer at
	// most.
	gamePeriod = 150 * time.Millisecond
	// A look is followed by a pause of so many times what it took, so that it stays cheap with thousands of sockets too; but of
	// gamePeriodMax at most, for what a look takes on a busy machine is mostly waiting.
	gameShare     = 50
	gamePeriodMax = 300 * time.Millisecond
	// ownPeriod is how old the list of this machine's addresses may be.
	ownPeriod = 10 * time.Second
)

// remedyGameRestarted mends what rathole v0.5.0 does to UDP players when their game restarts: of one who sends two datagrams
// back to back while nobody listens it forgets the socket and keeps the entry, for as long as the service's UDP channel
// lives. A new channel costs those who recovered by themselves a new address towards the game, which has just forgotten
// them anyway.
func remedyGameRestarted() service.Remedy {
	return service.Remedy{Reason: "game_restarted", Every: 5 * time.Second, Hourly: 60}
}

// games watches the UDP sockets of the games on this machine, and has the UDP channel of a service made anew when its game
// was restarted under players.
type games struct {
	list func() []view
	// bounce makes the UDP channel of a service anew.
	bounce func(ctx context.Context, id, engineService string) error
	may    func(id, message string) bool
	log    *slog.Logger

	owners sockets.Owners
	own    []netip.Addr // this machine's addresses
	ownAt  time.Time
	seen   map[gameKey]*gameSocket
	busy   sync.Map // of client ids: a channel is being made anew
}

// gameKey is a UDP service of a client.
type gameKey struct{ id, service string }

// gameTarget is where a UDP service points.
type gameTarget struct {
	gameKey
	addr  netip.AddrPort
	owner *sockets.Owned
}

// gameSocket is what is remembered of a game.
type gameSocket struct {
	inodes []uint64 // of the sockets on its port when it was last there
	away   bool     // it was there, and is not
	// flows: the client held sockets towards it when it was last seen, or since it is away.
	flows bool
	due   bool // it was restarted under players, and the channel is not made anew yet
}

// observe takes what a look has found.
func (g *gameSocket) observe(inodes []uint64, flows bool) {
	switch {
	case len(inodes) == 0:
		g.away = g.inodes != nil
		g.flows = g.away && (g.flows || flows)
		return
	case g.inodes == nil:
		// It is there for the first time: nobody had a path to another one.
	case g.away || !slices.ContainsFunc(g.inodes, func(i uint64) bool { return slices.Contains(inodes, i) }):
		g.due = g.due || g.flows
	}
	g.inodes, g.away, g.flows = inodes, false, flows
}

// run watches until ctx ends.
func (g *games) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	g.seen = map[gameKey]*gameSocket{}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		targets := g.targets(g.list(), began)
		if err := g.look(ctx, targets); err != nil && ctx.Err() == nil {
			g.log.Error("look at the games' sockets", "error", err)
		}
		for _, t := range targets {
			g.mend(ctx, t, &wg)
		}
		pause.Reset(min(max(gamePeriod, time.Since(began)*gameShare), gamePeriodMax))
	}
}

// targets are the UDP services of the clients that run, as far as they point to this machine.
func (g *games) targets(views []view, now time.Time) []gameTarget {
	var targets []gameTarget
	pids := map[int]struct{}{}
	for _, v := range views {
		if v.Phase != supervisor.PhaseRunning {
			continue
		}
		for name, svc := range v.Record.Spec.Services {
			if svc.Protocol != api.UDP {
				continue
			}
			addr, err := netip.ParseAddrPort(strings.Replace(svc.LocalAddr, "localhost:", "127.0.0.1:", 1))
			if err != nil || !g.isHere(addr.Addr(), now) {
				continue
			}
			pids[v.Process.PID] = struct{}{}
			targets = append(targets, gameTarget{gameKey{v.Record.ID, name}, addr, g.owners.Of(v.Process.PID, v.Record.UnixUID)})
		}
	}
	g.owners.Keep(pids)
	known := make(map[gameKey]*gameSocket, len(targets))
	for _, t := range targets {
		known[t.gameKey] = g.seen[t.gameKey]
		if known[t.gameKey] == nil {
			known[t.gameKey] = &gameSocket{}
		}
	}
	g.keepAway(views, known)
	g.seen = known
	return targets
}

// keepAway keeps in mind the services of clients that do not run at this moment, but exist.
func (g *games) keepAway(views []view, known map[gameKey]*gameSocket) {
	for _, v := range views {
		if v.Phase == supervisor.PhaseRunning {
			continue
		}
		for name := range v.Record.Spec.Services {
			key := gameKey{v.Record.ID, name}
			// Its next engine begins without players.
			if s := g.seen[key]; s != nil {
				s.flows, s.due = false, false
				known[key] = s
			}
		}
	}
}

func (g *games) isHere(addr netip.Addr, now time.Time) bool {
	if addr.IsLoopback() {
		return true
	}
	if now.Sub(g.ownAt) > ownPeriod {
		g.own, g.ownAt = ownAddresses(), now
	}
	return slices.Contains(g.own, addr.Unmap())
}

// look asks the kernel about the sockets on the games' ports, and about those that are connected to them.
func (g *games) look(ctx context.Context, targets []gameTarget) error {
	if len(targets) == 0 {
		return nil
	}
	wanted := map[int]struct{}{}
	for _, t := range targets {
		wanted[int(t.addr.Port())] = struct{}{}
	}
	ports := make([]api.PortRange, 0, len(wanted))
	for _, p := range slices.Sorted(maps.Keys(wanted)) {
		ports = append(ports, api.PortRange{Start: p, End: p})
	}
	at, err := sockets.List(ctx, sockets.Query{Protocol: api.UDP, LocalPorts: ports})
	if err != nil {
		return err
	}
	to, err := sockets.List(ctx, sockets.Query{Protocol: api.UDP, States: []sockets.State{sockets.Established}, RemotePorts: ports})
	if err != nil {
		return err
	}
	held := byPort(at, func(s sockets.Socket) netip.AddrPort { return s.Local })
	flows := byPort(to, func(s sockets.Socket) netip.AddrPort { return s.Remote })
	for _, t := range targets {
		var inodes []uint64
		for _, s := range held[int(t.addr.Port())] {
			if s.Inode != 0 && sockets.Overlaps(s.Local.Addr(), t.addr.Addr()) {
				inodes = append(inodes, s.Inode)
			}
		}
		playing := slices.ContainsFunc(flows[int(t.addr.Port())], func(s sockets.Socket) bool {
			return sockets.Overlaps(s.Remote.Addr(), t.addr.Addr()) && t.owner.Has(s)
		})
		g.seen[t.gameKey].observe(inodes, playing)
	}
	return nil
}

// mend makes the channel of a service anew if that is due, and not going on already.
func (g *games) mend(ctx context.Context, t gameTarget, wg *sync.WaitGroup) {
	s := g.seen[t.gameKey]
	if !s.due || s.away {
		return
	}
	if _, busy := g.busy.LoadOrStore(t.id, nil); busy {
		return
	}
	message := fmt.Sprintf("the game on %s/udp was restarted under players: service %s gets a new UDP channel, for rathole would leave some of them unserved", t.addr, t.service)
	if !g.may(t.id, message) {
		g.busy.Delete(t.id)
		return
	}
	s.due, s.flows = false, false
	wg.Go(func() {
		defer g.busy.Delete(t.id)
		if err := g.bounce(ctx, t.id, t.service); err != nil && !errors.Is(err, supervisor.ErrNotFound) {
			g.log.Error("make a UDP channel anew", "id", t.id, "service", t.service, "error", err)
		}
	})
}
