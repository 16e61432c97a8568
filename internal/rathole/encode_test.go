package rathole

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// pair is what the manager renders for one instance: its two halves, on free ports of this machine.
func pair(t *testing.T, noise bool) (ServerConfig, ClientConfig) {
	t.Helper()
	control, public := freePort(t), freePort(t)
	s := ServerConfig{
		BindAddr: local(control), HeartbeatInterval: HeartbeatInterval, Transport: Transport{Type: "tcp"},
		Services: map[string]ServerService{
			"game_tcp": {Type: api.TCP, Token: secret.New("tcp-token"), BindAddr: local(public)},
			"game_udp": {Type: api.UDP, Token: secret.New("udp-token"), BindAddr: local(public)},
		},
	}
	c := ClientConfig{
		RemoteAddr: local(control), HeartbeatTimeout: HeartbeatTimeout, Transport: Transport{Type: "tcp"},
		Services: map[string]ClientService{
			"game_tcp": {Type: api.TCP, Token: secret.New("tcp-token"), LocalAddr: local(freePort(t))},
			"game_udp": {Type: api.UDP, Token: secret.New("udp-token"), LocalAddr: local(freePort(t))},
		},
	}
	if noise {
		private, public, err := GenerateNoiseKeys()
		if err != nil {
			t.Fatal(err)
		}
		s.Transport = Transport{Type: "noise", Noise: &NoiseTransport{LocalPrivateKey: private}}
		c.Transport = Transport{Type: "noise", Noise: &NoiseTransport{RemotePublicKey: public}}
	}
	return s, c
}

// What Encode renders, the engine runs: both halves find each other and open the public ports.
func TestEncodeRuns(t *testing.T) {
	t.Parallel()
	b := realEngine(t)
	for _, noise := range []bool{false, true} {
		t.Run(fmt.Sprintf("noise=%t", noise), func(t *testing.T) {
			t.Parallel()
			if noise && !b.Supports(api.TransportNoise) {
				t.Fatalf("the engine at %s has no noise; take a build with it", b.Path)
			}
			s, c := pair(t, noise)
			server := run(t, b, "server", must[[]byte](t)(s.Encode()))
			server.await(server.log, KindListening, "")
			client := run(t, b, "client", must[[]byte](t)(c.Encode()))
			for service := range s.Services {
				client.await(client.log, KindControlEstablished, service)
				server.await(server.log, KindPublicListening, service)
			}
		})
	}
}

// An instance whose services were all removed still runs.
func TestEncodeWithoutServicesRuns(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b Binary) {
		server := run(t, b, "server", must[[]byte](t)(ServerConfig{BindAddr: local(freePort(t))}.Encode()))
		if !server.started(b) {
			t.Error("the engine refuses it")
		}
	})
}

// The bytes are hashed: this text may change only on purpose, because every agent then holds a stale config.
func TestEncodeBytes(t *testing.T) {
	t.Parallel()
	c := ClientConfig{
		RemoteAddr: "vps.example.com:10001", DefaultToken: secret.New("d"), HeartbeatTimeout: 15, RetryInterval: 2,
		Transport: Transport{Type: "noise", TCP: &TCPTransport{Nodelay: new(true)}, Noise: &NoiseTransport{RemotePublicKey: key32}},
		Services: map[string]ClientService{
			"game_udp": {Type: api.UDP, Token: secret.New(`q"\` + "\t\u00e9"), LocalAddr: "127.0.0.1:30000"},
			"game_tcp": {Type: api.TCP, Token: secret.New("a"), LocalAddr: "127.0.0.1:30000", Nodelay: new(false), RetryInterval: new(uint64(3))},
		},
	}
	want := `# Written by rathole-manager or rathole-agent. Changes made here by hand are overwritten.
[client]
remote_addr = "vps.example.com:10001"
default_token = "d"
heartbeat_timeout = 15
retry_interval = 2
[client.transport]
type = "noise"
[client.transport.tcp]
nodelay = true
[client.transport.noise]
remote_public_key = "` + key32 + `"
[client.services]
[client.services.game_tcp]
type = "tcp"
token = "a"
local_addr = "127.0.0.1:30000"
nodelay = false
retry_interval = 3
[client.services.game_udp]
type = "udp"
token = "q\"\\\té"
local_addr = "127.0.0.1:30000"
`
	for range 10 { // maps have no order of their own
		got := must[[]byte](t)(c.Encode())
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Fatalf("bytes (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff(c, must[ClientConfig](t)(ParseClient([]byte(want))), cmp.Comparer(sameSecret)); diff != "" {
		t.Errorf("parsed again (-want +got):\n%s", diff)
	}
}

// An agent may render what it was pushed with one key changed; the engine must then see that one change.
func TestServerSurvivesEncodeAndParse(t *testing.T) {
	t.Parallel()
	want, _ := pair(t, true)
	want.DefaultToken = secret.New("d")
	want.Transport.TLS = &TLSTransport{PKCS12: "p", PKCS12Password: secret.New("w")}
	want.Transport.Websocket = &WebsocketTransport{}
	got := must[ServerConfig](t)(ParseServer(must[[]byte](t)(want.Encode())))
	if diff := cmp.Diff(want, got, cmp.Comparer(sameSecret)); diff != "" {
		t.Errorf("parsed again (-want +got):\n%s", diff)
	}
}

// A config that never was text has no lines; Encode refuses what Validate refuses, and tells no secret.
func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	_, c := pair(t, true)
	c.RemoteAddr = "vps"
	c.Transport.Noise.RemotePublicKey = "hunter2"
	c.Transport.TCP = &TCPTransport{Proxy: secret.New("ftp://u:hunter2@h")}
	c.Services["game_tcp"] = ClientService{Type: "", Token: secret.New("hunter2\xff"), LocalAddr: "127.0.0.1:1", RetryInterval: new(uint64(0))}
	want := []string{
		"client.remote_addr: must be host:port",
		"client.services.game_tcp.retry_interval: must be a number of seconds",
		"client.services.game_tcp.token: must be UTF-8",
		`client.services.game_tcp.type: must be "tcp" or "udp"`,
		"client.transport.noise.remote_public_key: must be 32 bytes",
		"client.transport.tcp.proxy: must be socks5://",
	}
	text, err := c.Encode()
	if text != nil {
		t.Errorf("it gives %d bytes", len(text))
	}
	wantProblems(t, err, want)

	s := ServerConfig{BindAddr: "[::]:10001", Services: map[string]ServerService{}}
	for i := range maxServices + 1 {
		s.Services[fmt.Sprintf("s%d", i)] = ServerService{}
	}
	wantProblems(t, s.Validate(), []string{"server.services: must be at most 1000"})
}

// A refused value helps its owner, but never where it is a secret.
func TestProblemValues(t *testing.T) {
	t.Parallel()
	_, err := ParseClient(with(clientLines(), 7, `local_addr = "my_game:1"`, `tokn = "hunter2"`))
	var config *ConfigError
	if !errors.As(err, &config) || len(config.Problems) != 2 {
		t.Fatalf("error %v", err)
	}
	if config.Problems[0].Value != "my_game:1" || config.Problems[1].Value != nil {
		t.Errorf("values %v and %v", config.Problems[0].Value, config.Problems[1].Value)
	}
	if !strings.HasPrefix(err.Error(), "invalid rathole config: client.services.game_tcp.local_addr (line 7): ") {
		t.Errorf("error %q", err)
	}
}

// What `rathole --genkey` makes has the same form.
func TestGenerateNoiseKeys(t *testing.T) {
	t.Parallel()
	private, public, err := GenerateNoiseKeys()
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := GenerateNoiseKeys()
	if err != nil {
		t.Fatal(err)
	}
	if !validNoiseKey(private.Reveal()) || !validNoiseKey(public) || private.Reveal() == public || private.Reveal() == other.Reveal() {
		t.Error("not a fresh pair of 32-byte keys")
	}
}
