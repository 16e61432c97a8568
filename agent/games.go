package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

const (
	// gamePeriod is how often the sockets of all games are looked at. That one ends, the kernel tells at once (gone); where it
	// does not, they are looked at each gamePeriodUntold.
	gamePeriod       = time.Second
	gamePeriodUntold = 300 * time.Millisecond
	// awayPeriod is how often those games are looked at that went under players: they wait so much longer at most once it is
	// back. Of one that has been away for longAway they wait up to awayPeriodLong.
	awayPeriod     = 100 * time.Millisecond
	awayPeriodLong = 500 * time.Millisecond
	longAway       = 2 * time.Minute
	// mendPause is the pause after a channel could not be made anew because its budget is used up.
	mendPause = 5 * time.Second
	// fewGames is up to how many the kernel is asked about by their ports; more of them are picked out of all.
	fewGames = 32
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

	here *machine
	told atomic.Bool   // the kernel tells of sockets that end
	wake chan struct{} // a UDP socket has ended that was bound

	mu   sync.Mutex
	gone []netip.AddrPort            // where such sockets have ended since the last look
	left map[netip.AddrPort]struct{} // what UDP sockets were connected to that have ended since then

	owners sockets.Owners
	listed []view // what targets were made of
	all    []gameTarget
	madeAt time.Time
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
	inodes []uint64  // of the sockets on its port when it was last there
	away   bool      // it was there, and is not
	awayAt time.Time // when it was last there, while it is away
	// flows: the client held sockets towards it when it was last seen, or since then.
	flows bool
	due   bool // it was restarted under players, and the channel is not made anew yet
	// nextTry is when that may be tried again, after it was refused for now.
	nextTry time.Time
	failed  atomic.Bool // it was tried, and went wrong
}

// observe takes what a look has found.
func (g *gameSocket) observe(inodes []uint64, flows bool) {
	switch {
	case len(inodes) == 0:
		if !g.away {
			g.awayAt = time.Now()
		}
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

// went takes note that a socket of the game has ended: it was there, though no look may have found it.
func (g *gameSocket) went() {
	if g.inodes == nil {
		g.inodes = []uint64{}
	}
}

// run watches until ctx ends.
func (g *games) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	g.seen = map[gameKey]*gameSocket{}
	pause := time.NewTimer(0)
	defer pause.Stop()
	var next time.Time // when all are looked at again
	for {
		select {
		case <-pause.C:
		case <-g.wake:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		targets, fresh := g.targets(g.list(), now)
		gone := g.note(targets)
		if now.Before(next) && !fresh {
			targets = g.moving(targets, gone)
		} else {
			next = now.Add(gamePeriod)
			if !g.told.Load() {
				next = now.Add(gamePeriodUntold)
			}
		}
		if err := g.look(ctx, targets); err != nil && ctx.Err() == nil {
			g.log.Error("look at the games' sockets", "error", err)
		}
		for _, t := range targets {
			g.mend(ctx, t, &wg)
		}
		pause.Reset(min(time.Until(next), g.pace()))
	}
}

// note takes note of what the kernel has told of sockets that have ended since the last look: games', which it returns, and
// players' paths.
func (g *games) note(targets []gameTarget) (gone []netip.AddrPort) {
	g.mu.Lock()
	gone, left := g.gone, g.left
	g.gone, g.left = nil, nil
	g.mu.Unlock()
	for _, t := range targets {
		if _, had := left[plain(t.addr)]; had {
			g.seen[t.gameKey].flows = true
		}
		if t.isOneOf(gone) {
			g.seen[t.gameKey].went()
		}
	}
	return gone
}

// plain is an address in the one form that stands for all of its spellings.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// isOneOf tells whether the game may have listened on one of these addresses.
func (t gameTarget) isOneOf(gone []netip.AddrPort) bool {
	return slices.ContainsFunc(gone, func(a netip.AddrPort) bool {
		return a.Port() == t.addr.Port() && sockets.Overlaps(a.Addr(), t.addr.Addr())
	})
}

// moving are the games that went under players or are to be mended, and those at addresses where a socket has just ended.
func (g *games) moving(targets []gameTarget, gone []netip.AddrPort) []gameTarget {
	var some []gameTarget
	for _, t := range targets {
		if g.seen[t.gameKey].isMoving() || t.isOneOf(gone) {
			some = append(some, t)
		}
	}
	return some
}

func (g *gameSocket) isMoving() bool {
	return g.due && !time.Now().Before(g.nextTry) || g.away && g.flows
}

// pace is how long the next look at the games that move may be off.
func (g *games) pace() time.Duration {
	pace := gamePeriod
	for _, s := range g.seen {
		switch {
		case !s.isMoving():
		case s.away && time.Since(s.awayAt) > longAway:
			pace = min(pace, awayPeriodLong)
		default:
			return awayPeriod
		}
	}
	return pace
}

// maxGone bounds how many ended sockets are kept between two looks. A machine on which more end shows the games gone at the next
// look at all.
const maxGone = 1000

// ended takes note of sockets that have ended: one on which a game may have listened is worth a look at once.
func (g *games) ended(list []sockets.Socket) {
	g.told.Store(true)
	listened := false
	g.mu.Lock()
	for _, s := range list {
		switch {
		case s.Protocol != api.UDP || len(g.gone)+len(g.left) >= maxGone:
		case s.Remote.Port() == 0:
			g.gone, listened = append(g.gone, s.Local), true
		default:
			if g.left == nil {
				g.left = map[netip.AddrPort]struct{}{}
			}
			g.left[plain(s.Remote)] = struct{}{}
		}
	}
	g.mu.Unlock()
	if !listened {
		return
	}
	select {
	case g.wake <- struct{}{}:
	default: // it is awake
	}
}

// untold takes note that the kernel tells nothing any more.
func (g *games) untold() { g.told.Store(false) }

// targets are the UDP services of the clients that run, as far as they point to this machine; fresh if one of them was none
// before.
func (g *games) targets(views []view, now time.Time) (targets []gameTarget, fresh bool) {
	if isSame(views, g.listed) && now.Sub(g.madeAt) < ownPeriod {
		return g.all, false
	}
	pids := map[int]struct{}{}
	for _, v := range views {
		if v.Phase != supervisor.PhaseRunning {
			continue
		}
		for name, svc := range v.Record.Spec.Services {
			if svc.Protocol != api.UDP {
				continue
			}
			addr, err := svc.address()
			if err != nil || !g.here.has(addr.Addr()) {
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
			known[t.gameKey], fresh = &gameSocket{}, true
		}
	}
	g.keepAway(views, known)
	g.seen = known
	g.listed, g.all, g.madeAt = views, targets, now
	return targets, fresh
}

// isSame tells whether two lists of the supervisor are one: nothing has changed between.
func isSame(a, b []view) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }

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

// look asks the kernel about the sockets on the games' ports, and about those that are connected to them.
func (g *games) look(ctx context.Context, targets []gameTarget) error {
	if len(targets) == 0 {
		return nil
	}
	wanted := map[int]struct{}{}
	for _, t := range targets {
		wanted[int(t.addr.Port())] = struct{}{}
	}
	at, to, err := aroundUDP(ctx, wanted)
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

// aroundUDP lists the UDP sockets on some ports, and those that are connected to them.
func aroundUDP(ctx context.Context, wanted map[int]struct{}) (at, to []sockets.Socket, err error) {
	if len(wanted) <= fewGames {
		ports := make([]api.PortRange, 0, len(wanted))
		for _, p := range slices.Sorted(maps.Keys(wanted)) {
			ports = append(ports, api.PortRange{Start: p, End: p})
		}
		at, err = sockets.List(ctx, sockets.Query{Protocol: api.UDP, LocalPorts: ports})
		if err == nil {
			to, err = sockets.List(ctx, sockets.Query{Protocol: api.UDP, States: []sockets.State{sockets.Established}, RemotePorts: ports})
		}
		return at, to, err
	}
	// The kernel's filter takes few ports, and walks its table for each question: one is cheaper.
	_, err = sockets.List(ctx, sockets.Query{Protocol: api.UDP, Keep: func(s sockets.Socket) bool {
		if _, is := wanted[int(s.Local.Port())]; is {
			at = append(at, s)
		}
		if _, is := wanted[int(s.Remote.Port())]; is && s.State == sockets.Established {
			to = append(to, s)
		}
		return false
	}})
	return at, to, err
}

// mend makes the channel of a service anew if that is due, and not going on already.
func (g *games) mend(ctx context.Context, t gameTarget, wg *sync.WaitGroup) {
	s := g.seen[t.gameKey]
	if s.failed.Swap(false) {
		s.due = true
	}
	if !s.due || s.away || time.Now().Before(s.nextTry) {
		return
	}
	if _, busy := g.busy.LoadOrStore(t.id, nil); busy {
		return
	}
	message := fmt.Sprintf("the game on %s/udp was restarted under players: service %s gets a new UDP channel, for rathole would leave some of them unserved", t.addr, t.service)
	if !g.may(t.id, message) {
		g.busy.Delete(t.id)
		s.nextTry = time.Now().Add(mendPause)
		return
	}
	s.due, s.flows = false, false
	wg.Go(func() {
		defer g.busy.Delete(t.id)
		if err := g.bounce(ctx, t.id, t.service); err != nil && !errors.Is(err, supervisor.ErrNotFound) {
			g.log.Error("make a UDP channel anew", "id", t.id, "service", t.service, "error", err)
			s.failed.Store(true)
		}
	})
}
