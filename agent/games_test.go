package agent

import (
	"net/netip"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
)

// TestGameSocket shows looks at one game's port, one after the other.
func TestGameSocket(t *testing.T) {
	t.Parallel()
	type look struct {
		inodes []uint64
		flows  bool
	}
	for name, c := range map[string]struct {
		looks []look
		due   bool
	}{
		"first start":                         {[]look{{nil, false}, {[]uint64{1}, false}, {[]uint64{1}, true}}, false},
		"first start under players":           {[]look{{nil, true}, {nil, true}, {[]uint64{1}, true}}, false},
		"gone and back under players":         {[]look{{[]uint64{1}, true}, {nil, false}, {nil, false}, {[]uint64{2}, false}}, true},
		"gone and back, players while away":   {[]look{{[]uint64{1}, false}, {nil, true}, {nil, false}, {[]uint64{2}, false}}, true},
		"gone and back, nobody there":         {[]look{{[]uint64{1}, false}, {nil, false}, {[]uint64{2}, false}, {[]uint64{2}, true}}, false},
		"players had left before":             {[]look{{[]uint64{1}, true}, {[]uint64{1}, false}, {nil, false}, {[]uint64{2}, false}}, false},
		"another socket between two looks":    {[]look{{[]uint64{1}, true}, {[]uint64{2}, true}}, true},
		"another socket, nobody there":        {[]look{{[]uint64{1}, false}, {[]uint64{2}, true}}, false},
		"a second socket beside the first":    {[]look{{[]uint64{1}, true}, {[]uint64{1, 2}, true}, {[]uint64{2}, true}}, false},
		"restarted twice before it is mended": {[]look{{[]uint64{1}, true}, {[]uint64{2}, false}, {[]uint64{3}, false}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &gameSocket{}
			for _, l := range c.looks {
				s.observe(l.inodes, l.flows)
			}
			if s.due != c.due {
				t.Errorf("due is %v", s.due)
			}
		})
	}
}

// TestGameThatNoLookHasSeen restarts a game under players who came and went between two looks: the kernel has told of both.
func TestGameThatNoLookHasSeen(t *testing.T) {
	t.Parallel()
	game, player := netip.MustParseAddrPort("127.0.0.1:30000"), netip.MustParseAddrPort("127.0.0.1:40000")
	wild := netip.MustParseAddrPort("0.0.0.0:30000")
	one, other := gameKey{"one", "game"}, gameKey{"other", "game"}
	g := &games{wake: make(chan struct{}, 1), seen: map[gameKey]*gameSocket{one: {}, other: {}}}
	targets := []gameTarget{{gameKey: one, addr: game}, {gameKey: other, addr: netip.MustParseAddrPort("127.0.0.1:30001")}}
	g.ended([]sockets.Socket{{Protocol: api.UDP, Local: player, Remote: game}, {Protocol: api.UDP, Local: wild}})
	if gone := g.note(targets); len(gone) != 1 || len(g.wake) != 1 {
		t.Errorf("gone are %v", gone)
	}
	g.seen[one].observe(nil, false)
	if !g.seen[one].isMoving() || g.seen[other].isMoving() {
		t.Errorf("away are %+v and %+v", g.seen[one], g.seen[other])
	}
	g.note(targets)
	g.seen[one].observe([]uint64{1}, false)
	if !g.seen[one].due || g.seen[other].flows {
		t.Errorf("back are %+v and %+v", g.seen[one], g.seen[other])
	}
}
