package agent

import (
	"net/netip"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// TestTrouble tells when a new engine would mend a link, and when it would be none of the agent's business.
func TestTrouble(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const config = `[client]
remote_addr = "vps.example.org:10000"
heartbeat_timeout = 15
[client.services.game_tcp]
type = "tcp"
token = "a"
local_addr = "127.0.0.1:30000"
`
	for name, c := range map[string]struct {
		seen  *sight
		moved int
		want  string
	}{
		"never seen":                 {nil, 0, ""},
		"connected":                  {&sight{pid: 7, connected: 1, silent: 5 * time.Second}, 0, ""},
		"connect just begun":         {&sight{pid: 7, dialling: map[uint64]time.Time{1: ago(time.Second)}, partlyAt: ago(time.Hour), quietAt: now}, 0, ""},
		"connect hangs":              {&sight{pid: 7, dialling: map[uint64]time.Time{1: ago(3 * time.Second)}, partlyAt: ago(time.Hour), quietAt: now}, 0, "connect_hangs"},
		"another engine's hangs":     {&sight{pid: 6, dialling: map[uint64]time.Time{1: ago(3 * time.Second)}}, 0, ""},
		"a data channel's hangs":     {&sight{pid: 7, connected: 1, dialling: map[uint64]time.Time{1: ago(time.Minute)}}, 0, ""},
		"heartbeat is late":          {&sight{pid: 7, connected: 1, silent: 16 * time.Second}, 0, ""},
		"heartbeat is long overdue":  {&sight{pid: 7, connected: 1, silent: 21 * time.Second}, 0, "client_stuck"},
		"not connected, and says so": {&sight{pid: 7, partlyAt: ago(time.Hour), quietAt: ago(time.Second)}, 0, ""},
		"not connected, and silent":  {&sight{pid: 7, partlyAt: ago(time.Hour), quietAt: ago(11 * time.Second)}, 0, "client_stuck"},
		"moved, perhaps":             {&sight{pid: 7, connected: 1, peers: []netip.Addr{{}}}, movedAfter - 1, ""},
		"moved":                      {&sight{pid: 7, connected: 1, peers: []netip.Addr{{}}}, movedAfter, "server_moved"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLinks()
			if c.seen != nil {
				l.seen["one"] = c.seen
			}
			l.moved["one"] = c.moved
			v := view{Phase: supervisor.PhaseRunning, Process: supervisor.Process{PID: 7, Log: t.TempDir() + "/one.log"}, Record: record{
				ID: "one", Config: config, Spec: spec{RemoteAddr: "vps.example.org:10000", Services: map[string]target{"game_tcp": {}}},
			}}
			remedy, message, bad := l.trouble(v, now)
			if remedy.Reason != c.want || bad != (c.want != "") || bad != (message != "") {
				t.Errorf("%v %q %q", bad, remedy.Reason, message)
			}
			v.Phase = supervisor.PhaseBackoff
			if _, _, bad := l.trouble(v, now); bad {
				t.Error("an engine that does not run is in trouble")
			}
		})
	}
}

// TestMovedIsCounted wants a server to have moved only after several answers in a row without its address.
func TestMovedIsCounted(t *testing.T) {
	t.Parallel()
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	l := newLinks()
	l.compare("unseen", []netip.Addr{other})
	l.seen["one"] = &sight{connected: 1, peers: []netip.Addr{one}}
	for i, answer := range [][]netip.Addr{{other}, {other}, {other, one}, {other}, {other}, {other}} {
		l.compare("one", answer)
		if want := []int{1, 2, 0, 1, 2, 3}[i]; l.moved["one"] != want {
			t.Errorf("after answer %d: %d, want %d", i, l.moved["one"], want)
		}
	}
	if l.moved["unseen"] != 0 {
		t.Error("a client without a connection has none to lose")
	}
}
