package manager

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
)

// TestLostBy shows the manager sockets that have ended: a loss to an instance, or nothing.
func TestLostBy(t *testing.T) {
	t.Parallel()
	p := &ports{held: map[socket]holder{
		{10000, api.TCP}: {id: "one"}, {30000, api.TCP}: {id: "one", service: "game"}, {30000, api.UDP}: {id: "one", service: "game"},
	}}
	at := func(port int) netip.AddrPort { return netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port)) }
	player := netip.MustParseAddrPort("203.0.113.9:4000")
	for name, c := range map[string]struct {
		ended sockets.Socket
		lost  bool
	}{
		"control channel":                {sockets.Socket{Protocol: api.TCP, Local: at(10000), Remote: player, BytesReceived: 69}, true},
		"control channel, with its FIN":  {sockets.Socket{Protocol: api.TCP, Local: at(10000), Remote: player, BytesReceived: 70}, true},
		"control channel, noise":         {sockets.Socket{Protocol: api.TCP, Local: at(10000), Remote: player, BytesReceived: 155}, true},
		"idle data channel":              {sockets.Socket{Protocol: api.TCP, Local: at(10000), Remote: player, BytesReceived: 37}, false},
		"stranger who said nothing":      {sockets.Socket{Protocol: api.TCP, Local: at(10000), Remote: player}, false},
		"control port":                   {sockets.Socket{Protocol: api.TCP, Local: at(10000)}, true},
		"public TCP port":                {sockets.Socket{Protocol: api.TCP, Local: at(30000)}, true},
		"public UDP port":                {sockets.Socket{Protocol: api.UDP, Local: at(30000)}, true},
		"player's connection":            {sockets.Socket{Protocol: api.TCP, Local: at(30000), Remote: player, BytesReceived: 69}, false},
		"somebody else's port":           {sockets.Socket{Protocol: api.TCP, Local: at(30001)}, false},
		"its number, the other protocol": {sockets.Socket{Protocol: api.UDP, Local: at(10000)}, false},
	} {
		if got := slices.Equal(p.lostBy([]sockets.Socket{c.ended}), []string{"one"}); got != c.lost {
			t.Errorf("%s: a loss: %v", name, got)
		}
	}
}
