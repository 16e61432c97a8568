package rathole

import (
	"errors"
	"net"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// Lines as rathole 0.5.0 wrote them.
func TestParseLine(t *testing.T) {
	t.Parallel()
	const stamp = "2026-11-24T12:05:20.607128Z "
	at := time.Date(2026, 11, 24, 12, 5, 20, 607128000, time.UTC)
	tests := []struct {
		line string
		want Line
	}{
		{" INFO rathole::server: Listening at 127.0.0.1:22334", Line{Level: "INFO", Kind: KindListening, Text: "Listening at 127.0.0.1:22334"}},
		{` INFO config_watcher{path="/a b/rathole::x: y/server.toml"}: rathole::config_watcher: Start watching the config`, Line{Level: "INFO", Kind: KindWatching, Text: "Start watching the config"}},
		{" INFO handle{service=g-tcp}: rathole::client: Starting 9f3a", Line{Level: "INFO", Service: "g-tcp", Kind: KindServiceStarting, Text: "Starting 9f3a"}},
		{" INFO connection{addr=127.0.0.1:5}: rathole::server: Control channel established service=g-tcp", Line{Level: "INFO", Service: "g-tcp", Kind: KindControlEstablished, Text: "Control channel established service=g-tcp"}},
		{" INFO connection{addr=[::1]:5}:handle{service=g-udp}:run_udp_connection_pool: rathole::server: Listening at 127.0.0.1:25001", Line{Level: "INFO", Service: "g-udp", Kind: KindPublicListening, Text: "Listening at 127.0.0.1:25001"}},
		{"ERROR connection{addr=127.0.0.1:5}:handle{service=g-udp}: rathole::server: Failed to run TCP connection pool: unexpected end of file", Line{Level: "ERROR", Service: "g-udp", Kind: KindClientLost, Text: "Failed to run TCP connection pool: unexpected end of file"}},
		{"ERROR connection{addr=127.0.0.1:5}:handle{service=g-tcp}:run: rathole::server: Failed to write control cmds: Broken pipe (os error 32)", Line{Level: "ERROR", Service: "g-tcp", Kind: KindClientLost, Text: "Failed to write control cmds: Broken pipe (os error 32)"}},
		{" INFO connection{addr=127.0.0.1:5}:handle{service=g-tcp}:run: rathole::server: Control channel shutdown", Line{Level: "INFO", Service: "g-tcp", Kind: KindControlShutdown, Text: "Control channel shutdown"}},
		{" WARN connection{addr=127.0.0.1:5}: rathole::server: Dropping previous control channel for service g-tcp", Line{Level: "WARN", Service: "g-tcp", Kind: KindPreempted, Text: "Dropping previous control channel for service g-tcp"}},
		{"ERROR handle{service=g-tcp}: rathole::client: Failed to run the control channel: Heartbeat timed out. Retry in 463ms...", Line{Level: "ERROR", Service: "g-tcp", Kind: KindHeartbeatTimeout, Text: "Failed to run the control channel: Heartbeat timed out. Retry in 463ms..."}},
		{"ERROR connection{addr=127.0.0.1:5}: rathole::server: Service a failed the authentication", Line{Level: "ERROR", Service: "a", Kind: KindAuthFailed, Text: "Service a failed the authentication"}},
		{"ERROR handle{service=a}: rathole::client: Failed to run the control channel: Authentication failed: a: Incorrect token. Retry in 1s...", Line{Level: "ERROR", Service: "a", Kind: KindAuthFailed, Text: "Failed to run the control channel: Authentication failed: a: Incorrect token. Retry in 1s..."}},
		{"ERROR handle{service=b}: rathole::client: Failed to run the control channel: Authentication failed: b: Service not exist. Retry in 1s...", Line{Level: "ERROR", Service: "b", Kind: KindServiceUnknown, Text: "Failed to run the control channel: Authentication failed: b: Service not exist. Retry in 1s..."}},
		{"ERROR connection{addr=127.0.0.1:5}: rathole::server: No such a service 3e23", Line{Level: "ERROR", Kind: KindServiceUnknown, Text: "No such a service 3e23"}},
		{"ERROR rathole::server: Failed to do transport handshake: Failed to do noise handshake: Snow error: decrypt error: decrypt error", Line{Level: "ERROR", Kind: KindHandshakeFailed, Text: "Failed to do transport handshake: Failed to do noise handshake: Snow error: decrypt error: decrypt error"}},
		{"ERROR rathole::server: Transport handshake timeout: deadline has elapsed", Line{Level: "ERROR", Kind: KindHandshakeFailed, Text: "Transport handshake timeout: deadline has elapsed"}},
		{"ERROR handle{service=a}: rathole::client: Failed to run the control channel: Failed to connect to x.invalid:1: failed to lookup address information: Name or service not known. Retry in 1s...", Line{Level: "ERROR", Service: "a", Kind: KindLookupFailed, Text: "Failed to run the control channel: Failed to connect to x.invalid:1: failed to lookup address information: Name or service not known. Retry in 1s..."}},
		{" INFO rathole: General configuration change detected. Restarting...", Line{Level: "INFO", Kind: KindGeneralChange, Text: "General configuration change detected. Restarting..."}},
		// The name of a service is text of others: it must not make another kind of line.
		{` INFO rathole: Service change detected. ServerChange(Delete("Connection refused"))`, Line{Level: "INFO", Kind: KindReloadDetected, Text: `Service change detected. ServerChange(Delete("Connection refused"))`}},
		{" NOISE whatever", Line{Kind: KindOther, Text: "NOISE whatever"}},
		{"", Line{Kind: KindOther}},
	}
	for _, tt := range tests {
		tt.want.Time = at
		if diff := cmp.Diff(tt.want, ParseLine(stamp+tt.line)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.line, diff)
		}
	}
	for text, kind := range map[string]Kind{
		"": KindOther, "   ": KindOther, "Caused by:": KindOther,
		"thread 'tokio-rt-worker' (22898) panicked at src/lib.rs:138:9:":                                             KindPanic,
		"called `Result::unwrap()` on an `Err` value: Failed to listen at `server.bind_addr`":                        KindPanic,
		"    Address already in use (os error 98)":                                                                   KindAddrInUse,
		"Error: Configuration is invalid. Please refer to the configuration specification.":                          KindConfigInvalid,
		"\x1b[2m2026-11-24T12:05:20.607128Z\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2mrathole::server\x1b[0m: Listening at": KindOther,
	} {
		if got := ParseLine(text); got.Kind != kind {
			t.Errorf("%q is %s, want %s", text, got.Kind, kind)
		}
	}
	colour := ParseLine("\x1b[2m2026-11-24T12:05:20.607128Z\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2mrathole::server\x1b[0m\x1b[2m:\x1b[0m Listening at [::]:1")
	if diff := cmp.Diff(Line{Time: at, Level: "INFO", Kind: KindListening, Text: "Listening at [::]:1"}, colour); diff != "" {
		t.Errorf("with colours (-want +got):\n%s", diff)
	}
}

// One pair through a working life: every line that others rely on, from the engine itself.
func TestEngineSaysLife(t *testing.T) {
	t.Parallel()
	onBoth(t, engineSaysLife)
}

func engineSaysLife(t *testing.T, b Binary) {
	if !b.HotReload() {
		t.Fatalf("the engine at %s has no hot reload; take a build with it", b.Path)
	}
	s, c := pair(t, false)
	serverText, clientText := must[[]byte](t)(s.Encode()), must[[]byte](t)(c.Encode())
	server := run(t, b, "server", serverText)
	up := server.await(server.log, KindListening, "")
	if up.Level != "INFO" || time.Since(up.Time).Abs() > time.Minute || up.Text != "Listening at "+s.BindAddr {
		t.Errorf("%+v", up)
	}
	server.await(server.log, KindWatching, "")
	client := run(t, b, "client", clientText)
	for name := range s.Services {
		client.await(client.log, KindServiceStarting, name)
		client.await(client.log, KindControlEstablished, name)
		server.await(server.log, KindControlEstablished, name)
		server.await(server.log, KindPublicListening, name)
	}

	// A player comes, and no game is there.
	player := must[net.Conn](t)(net.Dial("tcp", s.Services["game_tcp"].BindAddr))
	client.await(client.log, KindLocalRefused, "game_tcp")
	_ = player.Close()

	rival := run(t, b, "client", clientText)
	rival.await(rival.log, KindControlEstablished, "game_udp")
	server.await(server.log, KindPreempted, "game_udp")
	server.await(server.log, KindControlShutdown, "game_udp")
	client.kill() // or it takes the service back, and the rival's end is no loss
	rival.kill()
	server.await(server.log, KindClientLost, "game_udp")

	server.swap([]byte("[server]\nunknown = 1\n"))
	server.await(server.log, KindConfigInvalid, "")
	s.Services["query_udp"] = ServerService{Type: api.UDP, Token: secret.New("q"), BindAddr: local(freePort(t))}
	server.swap(must[[]byte](t)(s.Encode()))
	server.await(server.log, KindReloadDetected, "")
	s.HeartbeatInterval++
	server.swap(must[[]byte](t)(s.Encode()))
	server.await(server.log, KindGeneralChange, "")
}

// What goes wrong between two halves.
func TestEngineSaysDisagreement(t *testing.T) {
	t.Parallel()
	onBoth(t, engineSaysDisagreement)
}

func engineSaysDisagreement(t *testing.T, b Binary) {
	tests := []struct {
		name            string
		noise           bool
		change          func(t *testing.T, c *ClientConfig)
		client, server  Kind
		onServer, onOne string // services
	}{
		{"wrong token", false, func(_ *testing.T, c *ClientConfig) {
			c.Services["game_tcp"] = ClientService{Type: api.TCP, Token: secret.New("wrong"), LocalAddr: "127.0.0.1:1"}
		}, KindAuthFailed, KindAuthFailed, "game_tcp", "game_tcp"},
		{"unknown service", false, func(_ *testing.T, c *ClientConfig) {
			c.Services["more_tcp"] = ClientService{Type: api.TCP, Token: secret.New("t"), LocalAddr: "127.0.0.1:1"}
		}, KindServiceUnknown, KindServiceUnknown, "", "more_tcp"},
		{"udp on the server, tcp on the client", false, func(_ *testing.T, c *ClientConfig) {
			c.Services["game_udp"] = ClientService{Type: api.TCP, Token: secret.New("udp-token"), LocalAddr: "127.0.0.1:1"}
		}, KindProtocolMismatch, KindControlEstablished, "game_udp", "game_udp"},
		{"wrong noise key", true, func(t *testing.T, c *ClientConfig) {
			_, public, err := GenerateNoiseKeys()
			if err != nil {
				t.Fatal(err)
			}
			c.Transport.Noise.RemotePublicKey = public
		}, KindHandshakeFailed, KindHandshakeFailed, "", "game_tcp"},
		{"plain client on noise", true, func(_ *testing.T, c *ClientConfig) { c.Transport = Transport{} }, KindHandshakeFailed, KindHandshakeFailed, "", "game_tcp"},
		{"nobody there", false, func(t *testing.T, c *ClientConfig) { c.RemoteAddr = local(freePort(t)) }, KindConnectionRefused, KindListening, "", "game_tcp"},
	}
	for _, tt := range tests {
		if tt.noise && !b.Supports(api.TransportNoise) {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := pair(t, tt.noise)
			tt.change(t, &c)
			server := run(t, b, "server", must[[]byte](t)(s.Encode()))
			server.await(server.log, KindListening, "")
			client := run(t, b, "client", must[[]byte](t)(c.Encode()))
			client.await(client.log, tt.client, tt.onOne)
			server.await(server.log, tt.server, tt.onServer)
		})
	}
}

// A taken public port shows only in the server's log; a taken control port only on standard error.
func TestEngineSaysPortTaken(t *testing.T) {
	t.Parallel()
	onBoth(t, engineSaysPortTaken)
}

func engineSaysPortTaken(t *testing.T, b Binary) {
	s, c := pair(t, false)
	for _, taken := range []string{s.Services["game_tcp"].BindAddr} {
		l := must[net.Listener](t)(net.Listen("tcp", taken))
		defer func() { _ = l.Close() }()
		u := must[net.PacketConn](t)(net.ListenPacket("udp", taken))
		defer func() { _ = u.Close() }()
	}
	text := must[[]byte](t)(s.Encode())
	server := run(t, b, "server", text)
	server.await(server.log, KindListening, "")
	client := run(t, b, "client", must[[]byte](t)(c.Encode()))
	client.await(client.log, KindControlEstablished, "game_tcp")
	server.await(server.log, KindAddrInUse, "game_tcp")
	server.await(server.log, KindAddrInUse, "game_udp")

	second := run(t, b, "server", text)
	<-second.exited
	second.await(second.errLog, KindPanic, "")
	second.await(second.errLog, KindAddrInUse, "")

	refused := run(t, b, "server", []byte("[server]\n"))
	<-refused.exited
	refused.await(refused.errLog, KindConfigInvalid, "")
}

func FuzzParseLine(f *testing.F) {
	f.Add("2026-11-24T12:05:20.607128Z  INFO handle{service=g-tcp}:run: rathole::client: Control channel established")
	f.Add("2026-11-24T12:05:20.607128Z ERROR rathole")
	f.Add("\x1b[2m\xff: rathole::a: handle{service=\n}")
	f.Fuzz(func(t *testing.T, s string) {
		l := ParseLine(s)
		if l.Kind == "" {
			t.Error("no kind")
		}
		for _, r := range l.Text + l.Service + l.Level {
			if !unicode.IsPrint(r) {
				t.Errorf("%q is not printable", r)
			}
		}
	})
}

func FuzzParseClient(f *testing.F) {
	for _, text := range [][]byte{lines(clientLines()...), []byte("client={remote_addr='h:1',services={a={token=\"\\u00e9\",local_addr='[::1]:2'}}}"), []byte("[[client.services]]\n# c\na.\"b\".c = [1, {}]")} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseClient(text)
		if err != nil {
			var config *ConfigError
			if !errors.As(err, &config) || len(config.Problems) == 0 {
				t.Errorf("error %v, want a *ConfigError", err)
			}
			return
		}
		again, err := ParseClient(must[[]byte](t)(c.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, again, cmp.Comparer(sameSecret)); diff != "" {
			t.Errorf("encoded and parsed again (-want +got):\n%s", diff)
		}
	})
}
