package agent

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
)

// TestLostBy shows the agent sockets that have ended: a loss to a client, or nothing; and which of them has the games looked at.
func TestLostBy(t *testing.T) {
	t.Parallel()
	v := view{}
	v.Record.ID = "one"
	v.Record.Spec = spec{RemoteAddr: "vps.example.org:10000", Services: map[string]target{
		"game_tcp": {api.TCP, "localhost:30000"}, "game_udp": {api.UDP, "127.0.0.1:30000"}, "far_udp": {api.UDP, "game.example.org:7777"},
	}}
	views := []view{v}
	here := func(port int) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
	}
	server := netip.MustParseAddrPort("203.0.113.9:10000")
	for name, c := range map[string]struct {
		ended       sockets.Socket
		lost, games bool
	}{
		"control channel":               {sockets.Socket{Protocol: api.TCP, Local: here(40000), Remote: server, BytesAcked: 70}, true, false},
		"control channel, with its FIN": {sockets.Socket{Protocol: api.TCP, Local: here(40000), Remote: server, BytesAcked: 71}, true, false},
		"idle data channel":             {sockets.Socket{Protocol: api.TCP, Local: here(40000), Remote: server, BytesAcked: 38}, false, false},
		"somebody else's connection":    {sockets.Socket{Protocol: api.TCP, Local: here(40000), Remote: here(10001), BytesAcked: 70}, false, false},
		"the game's TCP port":           {sockets.Socket{Protocol: api.TCP, Local: here(30000)}, true, false},
		"the game's UDP port":           {sockets.Socket{Protocol: api.UDP, Local: here(30000)}, true, true},
		"a player's way to the game":    {sockets.Socket{Protocol: api.UDP, Local: here(40000), Remote: here(30000), State: sockets.Established}, false, false},
		"somebody else's UDP port":      {sockets.Socket{Protocol: api.UDP, Local: here(30001)}, false, true},
	} {
		e := &ends{list: func() []view { return views }, games: &games{wake: make(chan struct{}, 1)}}
		if got := slices.Equal(e.lostBy([]sockets.Socket{c.ended}), []string{"one"}); got != c.lost {
			t.Errorf("%s: a loss: %v", name, got)
		}
		if got := len(e.games.wake) == 1; got != c.games {
			t.Errorf("%s: the games are looked at: %v", name, got)
		}
		if !e.games.told.Load() {
			t.Errorf("%s: it is not known that the kernel tells", name)
		}
	}
}

// TestMoving has one game of each kind: those that went under players are looked at often, and those where a socket ended.
func TestMoving(t *testing.T) {
	t.Parallel()
	now := time.Now()
	g := &games{seen: map[gameKey]*gameSocket{}}
	var all []gameTarget
	for i, s := range []*gameSocket{
		{inodes: []uint64{1}, flows: true},                                         // 30000: plays
		{inodes: []uint64{1}, away: true, awayAt: now},                             // 30001: away, nobody waits
		{inodes: []uint64{1}, away: true, flows: true, awayAt: now.Add(-longAway)}, // 30002
	} {
		key := gameKey{"one", string(rune('a' + i))}
		g.seen[key] = s
		all = append(all, gameTarget{gameKey: key, addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(30000+i))})
	}
	ports := func(gone ...string) (ports []int) {
		var at []netip.AddrPort
		for _, a := range gone {
			at = append(at, netip.MustParseAddrPort(a))
		}
		for _, m := range g.moving(all, at) {
			ports = append(ports, int(m.addr.Port()))
		}
		return ports
	}
	if got := ports(); !slices.Equal(got, []int{30002}) || g.pace() != awayPeriodLong {
		t.Errorf("%v move, at a pace of %s", got, g.pace())
	}
	if got := ports("0.0.0.0:30000", "127.0.0.2:30001"); !slices.Equal(got, []int{30000, 30002}) {
		t.Errorf("%v move", got)
	}
	g.seen[all[1].gameKey].flows = true
	if got := ports(); !slices.Equal(got, []int{30001, 30002}) || g.pace() != awayPeriod {
		t.Errorf("%v move, at a pace of %s", got, g.pace())
	}
	g.seen = map[gameKey]*gameSocket{}
	if g.pace() != gamePeriod {
		t.Errorf("nothing moves, at a pace of %s", g.pace())
	}
}
