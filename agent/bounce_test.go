package agent

import (
	"slices"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// TestEngineConfig wants a bounced service to differ from what was pushed in "no delay" alone, and no other to differ at all.
func TestEngineConfig(t *testing.T) {
	t.Parallel()
	const pushed = `# by hand
[client]
remote_addr = "vps.example.org:10000"
[client.services.game_udp]
type = "udp"
token = "a"
local_addr = "127.0.0.1:30000"
[client.services.set_udp]
type = "udp"
token = "b"
nodelay = true
local_addr = "127.0.0.1:30001"
[client.services.game_tcp]
type = "tcp"
token = "c"
local_addr = "127.0.0.1:30000"
`
	s := spec{Pushed: pushed}
	if text, err := s.engineConfig(); err != nil || text != pushed {
		t.Errorf("%v %s", err, text)
	}
	s.Bounced = []string{"game_udp", "set_udp", "gone_udp"}
	text, err := s.engineConfig()
	if err != nil {
		t.Fatal(err)
	}
	was, err := rathole.ParseClient([]byte(pushed))
	if err != nil {
		t.Fatal(err)
	}
	is, err := rathole.ParseClient([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for name, nodelay := range map[string]bool{"game_udp": true, "set_udp": false} {
		svc := is.Services[name]
		if got := svc.Nodelay != nil && *svc.Nodelay; got != nodelay {
			t.Errorf("%s: nodelay is %v", name, svc.Nodelay)
		}
		svc.Nodelay = was.Services[name].Nodelay
		if svc != was.Services[name] {
			t.Errorf("%s is %+v", name, svc)
		}
	}
	if is.Services["game_tcp"] != was.Services["game_tcp"] || len(is.Services) != 3 {
		t.Errorf("%+v", is.Services)
	}
	for _, text := range []string{pushed, text} {
		_, other, err := parse(text)
		_, first, _ := parse(pushed)
		if c, ok := other.(rathole.ClientConfig); err != nil || !ok || c.RemoteAddr != was.RemoteAddr || c.Transport.Type != first.(rathole.ClientConfig).Transport.Type {
			t.Errorf("the rest differs: %v %+v", err, other)
		}
	}

	next := spec{Services: map[string]target{"game_udp": {Protocol: api.UDP}, "set_udp": {Protocol: api.TCP}}}
	if next.keepBounced(s); !slices.Equal(next.Bounced, []string{"game_udp"}) {
		t.Errorf("kept %v", next.Bounced)
	}
}
