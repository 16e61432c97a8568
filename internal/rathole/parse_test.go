package rathole

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

const key32 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// clientLines is a good client config; the tests replace one line of it.
func clientLines() []string {
	return []string{
		/* 1 */ `[client]`,
		/* 2 */ `remote_addr = "127.0.0.1:1"`,
		/* 3 */ ``,
		/* 4 */ `[client.services.game_tcp]`,
		/* 5 */ `type = "tcp"`,
		/* 6 */ `token = "hunter2-hunter2"`,
		/* 7 */ `local_addr = "127.0.0.1:30000"`,
	}
}

// with replaces one line, counted from 1, by others.
func with(text []string, line int, by ...string) []byte {
	all := append([]string{}, text[:line-1]...)
	return lines(append(append(all, by...), text[line:]...)...)
}

// What we refuse, and what the engine does with it. "accepts" is why this package exists.
func TestParseClientRefuses(t *testing.T) {
	t.Parallel()
	const accepts, refuses = true, false
	long := strings.Repeat("a", 65)
	c := clientLines()
	tests := []struct {
		name   string
		text   []byte
		engine bool
		want   []string // location, colon, beginning of the message
	}{
		{"not TOML", with(c, 5, `type "tcp"`), refuses, []string{`line 5: expected '.' or '='`}},
		{"bare word for a token", with(c, 6, `token = hunter2-hunter2`), refuses, []string{`line 6: not a valid TOML value`}},
		{"number and word for a token", with(c, 6, `token = 12hunter2`), refuses, []string{`line 6: expected a top-level item to end`}},
		{"token without its end", with(c, 6, `token = "hunter2-hunter2`), refuses, []string{`line 6: strings cannot contain newlines`}},
		{"bad escape in a token", with(c, 6, `token = "hunter2\uZZ"`), refuses, []string{`line 6: not a valid TOML value`}},
		{"date for a token", with(c, 6, `token = 2026-99-99`), refuses, []string{`line 6: not a valid TOML value`}},
		{"key twice", with(c, 5, `token = "hunter2"`), refuses, []string{`line 6: defined twice: client.services.game_tcp.token`}},
		{"table twice", append(lines(c...), "[client]\n"...), refuses, []string{`line 8: defined twice: client`}},
		{"empty text", nil, refuses, []string{`the table [client] is missing`}},
		{"not UTF-8", with(c, 6, "token = \"\xff\""), refuses, []string{`line 6: the config must be UTF-8`}},

		{"inline table over lines", with(c, 4, `[client.transport]`, `type = "tcp"`, `tcp = {`, `nodelay = true }`, c[3]), refuses, []string{`line 6: an inline table must stay on one line`}},
		{"comma at the end of an inline table", with(c, 4, `[client.transport]`, `type = "tcp"`, `tcp = {nodelay = true, }`, c[3]), refuses, []string{`line 6: an inline table must not end with a comma`}},
		{"escape of TOML 1.1", with(c, 6, `token = "a\x41"`), refuses, []string{`line 6: the escape \x is unknown`}},
		{"other escape of TOML 1.1", with(c, 6, `token = "a\e"`), refuses, []string{`line 6: the escape \e is unknown`}},
		{"carriage return alone", with(c, 3, "# a\rb"), refuses, []string{`line 3: a carriage return without a newline`}},
		{"multi-line string", with(c, 6, `token = """`, `hunter2"""`), accepts, []string{`line 6: write the text on one line`}},

		{"both halves", append(lines(c...), "[server]\nbind_addr = \"127.0.0.1:2\"\n[server.services]\n"...), accepts, []string{`server (line 8): a client's config must not have a [server] table`}},
		{"the other half", lines(`[server]`, `bind_addr = "127.0.0.1:2"`, `[server.services]`), refuses, []string{
			`the table [client] is missing`, `server (line 1): a client's config must not have`,
		}},
		{"client is no table", lines(`client = 5`), refuses, []string{`client (line 1): must be a table, not a whole number`}},
		{"no services", lines(c[0], c[1]), refuses, []string{`client.services (line 1): the table [client.services] is missing`}},
		{"no remote_addr", with(c, 2), refuses, []string{`client.remote_addr (line 1): must be host:port`}},
		{"unknown top-level key", append([]byte("meta = 1\n"), lines(c...)...), refuses, []string{`meta (line 1): unknown to rathole 0.5.0, which knows here: client`}},
		{"unknown key", with(c, 2, c[1], `prefer_ipv6 = true`), refuses, []string{
			`client.prefer_ipv6 (line 3): unknown to rathole 0.5.0, which knows here: default_token, heartbeat_timeout, remote_addr, retry_interval, services, transport`,
		}},
		{"server's key in a client", with(c, 7, c[6], `bind_addr = "127.0.0.1:1"`), refuses, []string{`client.services.game_tcp.bind_addr (line 8): unknown`}},
		{"upper case key", with(c, 5, `Type = "tcp"`), refuses, []string{`client.services.game_tcp.Type (line 5): unknown`}},
		{"unknown dotted key", with(c, 5, `extra.a.b = 1`), refuses, []string{`client.services.game_tcp.extra (line 5): unknown`}},
		{"unknown inline table", with(c, 3, `extra = {a = {b = 1}}`), refuses, []string{`client.extra (line 3): unknown`}},
		{"unknown key in an inline table", with(c, 3, `transport = {type = "tcp", tcp = {fast = true}}`), refuses, []string{`client.transport.tcp.fast (line 3): unknown`}},
		{"unknown table, only implied", with(c, 3, `[client.a.b.c]`, `d = 1`), refuses, []string{`client.a (line 3): unknown`}},
		{"unknown key of a quoted name", with(c, 3, `"a b" = 1`), refuses, []string{`client."a b" (line 3): unknown`}},
		{"unknown list of tables", with(c, 3, `[[client.a]]`), refuses, []string{`client.a (line 3): unknown`}},
		{"list of services", with(c, 4, `[[client.services]]`), refuses, []string{`client.services (line 4): must be a table, not a list of tables`}},
		{"service is no table", with(c, 4, `[client.services]`, `a = 1`, c[3]), refuses, []string{`client.services.a (line 5): must be a table, not a whole number`}},

		{"type in upper case", with(c, 5, `type = "TCP"`), refuses, []string{`client.services.game_tcp.type (line 5): must be "tcp" or "udp", in lower case`}},
		{"unknown type", with(c, 5, `type = "sctp"`), refuses, []string{`client.services.game_tcp.type (line 5): must be "tcp" or "udp"`}},
		{"token is a number", with(c, 6, `token = 4711`), refuses, []string{`client.services.game_tcp.token (line 6): must be a string, not a whole number`}},
		{"token is a date", with(c, 6, `token = 2026-11-24`), refuses, []string{`client.services.game_tcp.token (line 6): must be a string, not a date or time`}},
		{"nodelay is a string", with(c, 3, c[3], `nodelay = "true"`, `[client.services]`, `[client.services.b]`), refuses, nil},
		{"no token", with(c, 6), refuses, []string{`client.services.game_tcp.token (line 4): must be set and not empty`}},
		{"empty token", with(c, 6, `token = ""`), accepts, []string{`client.services.game_tcp.token (line 6): must not be empty`}},
		{"empty token beside a default", with(slices.Replace(slices.Clone(c), 5, 6, `token = ""`), 2, c[1], `default_token = "d"`), accepts, []string{
			`client.services.game_tcp.token (line 7): must not be empty`,
		}},
		{"empty default token", with(c, 2, c[1], `default_token = ""`), accepts, []string{`client.default_token (line 3): must not be empty`}},
		{"service name in upper case", with(c, 4, `[client.services.Game]`), accepts, []string{`client.services.Game (line 4): a service's name has 1 to 64`}},
		{"service name with a blank", with(c, 4, `[client.services."a b"]`), accepts, []string{`client.services."a b" (line 4): a service's name`}},
		{"service name too long", with(c, 4, `[client.services.`+long+`]`), accepts, []string{`client.services."` + long[:64] + `..." (line 4): a service's name`}},
		{"empty service name", with(c, 4, `[client.services.""]`), accepts, []string{`client.services."" (line 4): a service's name`}},

		{"address without port", with(c, 7, `local_addr = "127.0.0.1"`), accepts, []string{`client.services.game_tcp.local_addr (line 7): must be host:port`}},
		{"port 0", with(c, 7, `local_addr = "127.0.0.1:0"`), accepts, []string{`client.services.game_tcp.local_addr (line 7): the port must be`}},
		{"port over 65535", with(c, 2, `remote_addr = "127.0.0.1:65536"`), accepts, []string{`client.remote_addr (line 2): the port must be`}},
		{"port with a sign", with(c, 2, `remote_addr = "127.0.0.1:+1"`), accepts, []string{`client.remote_addr (line 2): the port must be`}},
		{"IPv6 without brackets", with(c, 2, `remote_addr = "::1:10001"`), accepts, []string{`client.remote_addr (line 2): must be host:port`}},
		{"host with an underscore", with(c, 7, `local_addr = "my_game:1"`), accepts, []string{`client.services.game_tcp.local_addr (line 7): the host must be`}},
		{"host is a number", with(c, 7, `local_addr = "2130706433:1"`), accepts, []string{`client.services.game_tcp.local_addr (line 7): the host must be`}},
		{"connect to the wildcard", with(c, 2, `remote_addr = "0.0.0.0:1"`), accepts, []string{`client.remote_addr (line 2): 0.0.0.0 is an address to listen on`}},
		{"connect to the IPv6 wildcard", with(c, 7, `local_addr = "[::]:1"`), accepts, []string{`client.services.game_tcp.local_addr (line 7): :: is an address to listen on`}},

		{"no heartbeat", with(c, 2, c[1], `heartbeat_timeout = 0`), accepts, []string{`client.heartbeat_timeout (line 3): must be a number of seconds, 1 or more`}},
		{"negative heartbeat", with(c, 2, c[1], `heartbeat_timeout = -1`), refuses, []string{`client.heartbeat_timeout (line 3): must be a number of seconds`}},
		{"heartbeat of a day", with(c, 2, c[1], `heartbeat_timeout = 86400`), accepts, []string{`client.heartbeat_timeout (line 3): must be a number of seconds, 1 to 3600`}},
		{"heartbeat with a fraction", with(c, 2, c[1], `heartbeat_timeout = 1.5`), refuses, []string{`client.heartbeat_timeout (line 3): must be a whole number, not a number with a fraction`}},
		{"retry without a pause", with(c, 2, c[1], `retry_interval = 0`), accepts, []string{`client.retry_interval (line 3): must be a number of seconds, 1 or more`}},
		{"service's retry without a pause", with(c, 7, c[6], `retry_interval = 0`), accepts, []string{`client.services.game_tcp.retry_interval (line 8): must be a number of seconds`}},
		{"service's retry too long", with(c, 7, c[6], `retry_interval = 3601`), accepts, []string{`client.services.game_tcp.retry_interval (line 8): must be a number of seconds, 1 to 3600`}},

		{"transport without a type", with(c, 3, `[client.transport.tcp]`, `nodelay = true`), refuses, []string{`client.transport.type (line 3): must be set where the table exists`}},
		{"unknown transport", with(c, 3, `[client.transport]`, `type = "quic"`), refuses, []string{`client.transport.type (line 4): must be "tcp", "tls", "noise" or "websocket"`}},
		{"transport in upper case", with(c, 3, `[client.transport]`, `type = "Noise"`), refuses, []string{`client.transport.type (line 4): must be "tcp"`}},
		{"noise without its table", with(c, 3, `[client.transport]`, `type = "noise"`), refuses, []string{`client.transport.noise (line 3): the table is missing`}},
		{"noise without the server's key", with(c, 3, `[client.transport]`, `type = "noise"`, `[client.transport.noise]`), accepts, []string{`client.transport.noise.remote_public_key (line 5): must be set`}},
		{"noise key too short", with(c, 3, `[client.transport]`, `type = "noise"`, `[client.transport.noise]`, `remote_public_key = "AAAA"`), accepts, []string{`client.transport.noise.remote_public_key (line 6): must be 32 bytes in base64`}},
		{"noise key not base64", with(c, 3, `[client.transport]`, `type = "noise"`, `[client.transport.noise]`, `remote_public_key = "hunter2?"`), refuses, []string{`client.transport.noise.remote_public_key (line 6): must be 32 bytes in base64`}},
		{"noise key of 33 bytes", with(c, 3, `[client.transport]`, `type = "noise"`, `[client.transport.noise]`, `remote_public_key = "`+key32[:43]+`A"`), accepts, []string{`client.transport.noise.remote_public_key (line 6): must be 32 bytes in base64`}},
		{"noise key without padding", with(c, 3, `[client.transport]`, `type = "noise"`, `[client.transport.noise]`, `remote_public_key = "`+key32[:43]+`"`), accepts, []string{`client.transport.noise.remote_public_key (line 6): must be 32 bytes in base64`}},
		{"noise key with a newline", with(c, 3, `[client.transport]`, `type = "noise"`, `[client.transport.noise]`, `remote_public_key = "\n`+key32+`"`), refuses, []string{`client.transport.noise.remote_public_key (line 6): must be 32 bytes in base64`}},
		{"other noise pattern", with(c, 3, `[client.transport]`, `type = "noise"`, `[client.transport.noise]`, `pattern = "Noise_NN_25519_ChaChaPoly_BLAKE2s"`, `remote_public_key = "`+key32+`"`), accepts, []string{`client.transport.noise.pattern (line 6): must be left out or Noise_NK`}},
		{"keepalive of 0 s", with(c, 3, `[client.transport]`, `type = "tcp"`, `[client.transport.tcp]`, `keepalive_secs = 0`), accepts, []string{`client.transport.tcp.keepalive_secs (line 6): must be a number of seconds, 1 or more`}},
		{"keepalive beyond the kernel", with(c, 3, `[client.transport]`, `type = "tcp"`, `[client.transport.tcp]`, `keepalive_interval = 40000`), accepts, []string{`client.transport.tcp.keepalive_interval (line 6): must be a number of seconds, 1 to 32767`}},
		{"proxy of another kind", with(c, 3, `[client.transport]`, `type = "tcp"`, `[client.transport.tcp]`, `proxy = "ftp://a:1"`), refuses, []string{`client.transport.tcp.proxy (line 6): must be socks5://host:port`}},
		{"websocket without its table", with(c, 3, `[client.transport]`, `type = "websocket"`), refuses, []string{`client.transport.websocket (line 3): the table is missing`}},
		{"websocket without tls", with(c, 3, `[client.transport]`, `type = "websocket"`, `[client.transport.websocket]`), refuses, []string{`client.transport.websocket.tls (line 5): must be set: true or false`}},
		{"tls without its table", with(c, 3, `[client.transport]`, `type = "tls"`), refuses, []string{`client.transport.tls (line 3): the table is missing`}},

		{"everything at once", lines(`[client]`, `remote_addr = "nowhere"`, `x = 1`, `[client.services.A]`, `type = 5`, `token = ""`, `local_addr = "h:0"`), refuses, []string{
			`client.remote_addr (line 2): must be host:port`,
			`client.x (line 3): unknown`,
			`client.services.A (line 4): a service's name`,
			`client.services.A.type (line 5): must be a string, not a whole number`,
			`client.services.A.token (line 6): must not be empty`,
			`client.services.A.local_addr (line 7): the port must be`,
		}},
	}
	b := realEngine(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseClient(tt.text)
			wantProblems(t, err, tt.want)
			if got := run(t, b, "client", tt.text).started(b); got != tt.engine {
				t.Errorf("the engine accepts it: %t, want %t", got, tt.engine)
			}
		})
	}
}

// wantProblems compares each problem's location and the beginning of its message, and looks for leaked secrets.
func wantProblems(t *testing.T, err error, want []string) {
	t.Helper()
	var config *ConfigError
	if !errors.As(err, &config) {
		t.Fatalf("error %v, want a *ConfigError", err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v", err, config.Problems), "hunter2") {
		t.Errorf("the error tells a secret: %+v", config.Problems)
	}
	if strings.Contains(err.Error(), "but got") {
		t.Errorf("the error quotes the text, be it one letter: %v", err)
	}
	if want == nil {
		return
	}
	var got []string
	for _, p := range config.Problems {
		got = append(got, strings.TrimPrefix(p.Location+": "+p.Message, ": "))
	}
	if len(got) != len(want) {
		t.Fatalf("problems %q, want %q", got, want)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("problem %q, want %q", got[i], want[i])
		}
	}
}

func TestParseServerRefuses(t *testing.T) {
	t.Parallel()
	const accepts, refuses = true, false
	base := []string{
		/* 1 */ `[server]`,
		/* 2 */ `bind_addr = "` + local(freePort(t)) + `"`,
		/* 3 */ ``,
		/* 4 */ `[server.services.game_tcp]`,
		/* 5 */ `type = "tcp"`,
		/* 6 */ `token = "hunter2-hunter2"`,
		/* 7 */ `bind_addr = "127.0.0.1:30000"`,
	}
	tests := []struct {
		name   string
		line   int
		by     []string
		engine bool
		want   []string
	}{
		{"no services", 4, []string{`[server.transport]`}, refuses, nil},
		{"client's key", 2, []string{base[1], `heartbeat_timeout = 5`}, refuses, []string{`server.heartbeat_timeout (line 3): unknown`}},
		{"client's key in a service", 7, []string{base[6], `retry_interval = 5`}, refuses, []string{`server.services.game_tcp.retry_interval (line 8): unknown`}},
		{"no bind_addr", 7, nil, refuses, []string{`server.services.game_tcp.bind_addr (line 4): must be host:port`}},
		{"control address without port", 2, []string{`bind_addr = "127.0.0.1"`}, refuses, []string{`server.bind_addr (line 2): must be host:port`}},
		{"public port 0", 7, []string{`bind_addr = "127.0.0.1:0"`}, accepts, []string{`server.services.game_tcp.bind_addr (line 7): the port must be`}},
		{"no heartbeat", 2, []string{base[1], `heartbeat_interval = 0`}, accepts, []string{`server.heartbeat_interval (line 3): must be a number of seconds`}},
		{"empty token", 6, []string{`token = ""`}, accepts, []string{`server.services.game_tcp.token (line 6): must not be empty`}},
		{"two services on one port", 7, []string{base[6], `[server.services.b]`, `token = "hunter2"`, `bind_addr = "0.0.0.0:30000"`}, accepts, []string{
			`server.services.game_tcp.bind_addr (line 7): is the port of service b too`,
		}},
		{"noise without a key", 3, []string{`[server.transport]`, `type = "noise"`, `[server.transport.noise]`}, accepts, []string{`server.transport.noise.local_private_key (line 5): must be set`}},
		{"noise key too short", 3, []string{`[server.transport]`, `type = "noise"`, `[server.transport.noise]`, `local_private_key = "AAAA"`}, accepts, []string{`server.transport.noise.local_private_key (line 6): must be 32 bytes`}},
		{"noise key not base64", 3, []string{`[server.transport]`, `type = "noise"`, `[server.transport.noise]`, `local_private_key = "hunter2"`}, refuses, []string{`server.transport.noise.local_private_key (line 6): must be 32 bytes`}},
		{"tls without an identity", 3, []string{`[server.transport]`, `type = "tls"`, `[server.transport.tls]`}, refuses, []string{
			`server.transport.tls.pkcs12 (line 5): must be set`, `server.transport.tls.pkcs12_password (line 5): must be set`,
		}},
	}
	b := realEngine(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// Each its own control port: the cases run side by side.
			text := with(base, tt.line, tt.by...)
			text = []byte(strings.Replace(string(text), base[1], `bind_addr = "`+local(freePort(t))+`"`, 1))
			_, err := ParseServer(text)
			wantProblems(t, err, tt.want)
			if got := run(t, b, "server", text).started(b); got != tt.engine {
				t.Errorf("the engine accepts it: %t, want %t", got, tt.engine)
			}
		})
	}
}

// Names and proxies with which the engine would not be there long enough, or not say enough, to ask it: it writes the
// newline into its log, and aborts at the first connect.
func TestParseClientRefusesUnasked(t *testing.T) {
	t.Parallel()
	c := clientLines()
	_, err := ParseClient(with(c, 4, `[client.transport]`, `type = "tcp"`, `tcp = {proxy = "socks5://u:hunter2@h"}`, `[client.services."a\nb"]`))
	wantProblems(t, err, []string{
		`client.transport.tcp.proxy (line 6): the port must be`, `client.services."a\nb" (line 7): a service's name`,
	})
}

// A service on the control port: the engine starts, and no player ever gets in.
func TestControlPortIsTaken(t *testing.T) {
	t.Parallel()
	_, err := ParseServer(lines(`server.bind_addr = "[::]:10001"`, `server.services.a = {token = "t", bind_addr = "127.0.0.1:10001"}`,
		`server.services.b = {type = "udp", token = "t", bind_addr = "127.0.0.1:10001"}`))
	wantProblems(t, err, []string{`server.services.a.bind_addr (line 2): is the port of the control port too`})
}

// The many ways to write one config: we must read what the engine reads, and refuse nothing that it takes.
func TestParseClientAccepts(t *testing.T) {
	t.Parallel()
	plain := ClientConfig{
		RemoteAddr: "127.0.0.1:1", Transport: Transport{Type: "tcp"},
		Services: map[string]ClientService{"game_tcp": {Type: api.TCP, Token: secret.New("t"), LocalAddr: "127.0.0.1:30000"}},
	}
	c := clientLines()
	c[5] = `token = "t"`
	tests := []struct {
		name string
		text []byte
		want ClientConfig
	}{
		{"tables", lines(c...), plain},
		{"no type is tcp", with(c, 5), plain},
		{"comments and blanks", with(c, 3, "\t# a 'comment' with \"quotes\" and {brackets", ``, `  # b,`), plain},
		{"windows line ends", []byte(strings.ReplaceAll(string(lines(c...)), "\n", "\r\n")), plain},
		{"byte order mark", append([]byte("\xef\xbb\xbf"), lines(c...)...), plain},
		{"literal strings and quoted keys", with(c, 6, `'token' = 't'`), plain},
		{"escapes", with(c, 6, `"tok\u0065n" = "\u0074"`), plain},
		{"tables in another order", lines(append(append([]string{}, c[3:]...), c[:3]...)...), plain},
		{"inline tables", lines(`[client]`, c[1], `services = { game_tcp = {type="tcp", token="t", local_addr="127.0.0.1:30000"} }`), plain},
		{"dotted keys", lines(`[client]`, c[1], `services.game_tcp.token = "t"`, `services.game_tcp.local_addr = "127.0.0.1:30000"`), plain},
		{"dotted keys from the top", lines(`client.remote_addr = "127.0.0.1:1"`, `client.services.game_tcp = {token = "t", local_addr = "127.0.0.1:30000"}`), plain},
		{"default token", lines(append(append([]string{}, c[:2]...), `default_token = "d"`, `services.a.local_addr = "h:1"`)...), ClientConfig{
			RemoteAddr: "127.0.0.1:1", DefaultToken: secret.New("d"), Transport: Transport{Type: "tcp"},
			Services: map[string]ClientService{"a": {Type: api.TCP, LocalAddr: "h:1"}},
		}},
		{"every key", lines(`[client]`, `remote_addr = "localhost:1"`, `default_token = "d"`, `heartbeat_timeout = 0x0f`, `retry_interval = 3_6`,
			`[client.transport]`, `type = "noise"`,
			`[client.transport.tcp]`, `nodelay = false`, `keepalive_secs = 10`, `keepalive_interval = 4`, `proxy = "socks5://u:p@127.0.0.1:1080"`,
			`[client.transport.tls]`, `hostname = "h"`, `trusted_root = "r"`, `pkcs12 = "p"`, `pkcs12_password = "w"`,
			`[client.transport.noise]`, `pattern = "`+NoisePattern+`"`, `local_private_key = "`+key32+`"`, `remote_public_key = "`+key32+`"`,
			`[client.transport.websocket]`, `tls = true`,
			`[client.services.a]`, `type = "udp"`, `token = "a"`, `local_addr = "[::1]:9"`, `nodelay = false`, `retry_interval = 9`), ClientConfig{
			RemoteAddr: "localhost:1", DefaultToken: secret.New("d"), HeartbeatTimeout: 15, RetryInterval: 36,
			Transport: Transport{
				Type:      "noise",
				TCP:       &TCPTransport{Nodelay: new(false), KeepaliveSecs: 10, KeepaliveInterval: 4, Proxy: secret.New("socks5://u:p@127.0.0.1:1080")},
				TLS:       &TLSTransport{Hostname: "h", TrustedRoot: "r", PKCS12: "p", PKCS12Password: secret.New("w")},
				Noise:     &NoiseTransport{Pattern: NoisePattern, LocalPrivateKey: secret.New(key32), RemotePublicKey: key32},
				Websocket: &WebsocketTransport{TLS: true},
			},
			Services: map[string]ClientService{"a": {
				Type: api.UDP, Token: secret.New("a"), LocalAddr: "[::1]:9", Nodelay: new(false), RetryInterval: new(uint64(9)),
			}},
		}},
	}
	b := realEngine(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseClient(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.Comparer(sameSecret)); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
			if !run(t, b, "client", tt.text).started(b) {
				t.Error("the engine refuses it")
			}
		})
	}
}

func sameSecret(a, b secret.String) bool { return a.Reveal() == b.Reveal() }

// Whatever is pushed, the agent answers soon and shortly.
func TestParseClientIsBounded(t *testing.T) {
	t.Parallel()
	repeat := strings.Repeat
	numbered := func(format string, n int) string {
		b := &strings.Builder{}
		for i := range n {
			fmt.Fprintf(b, format, i)
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"too long":           repeat("# comment\n", 30_000),
		"one long line":      "# " + repeat("x", 5000),
		"deep dotted key":    repeat("a.", 100_000) + "a = 1",
		"deep keys":          repeat("client."+repeat("a.", 1900)+"a = 1\n", 60),
		"deep brackets":      "a = " + repeat("[", 100_000),
		"deep over lines":    "a = " + repeat("[\n", 100_000),
		"many unknown keys":  "[client]\n" + numbered("a%d=1\n", 25_000),
		"many implied keys":  numbered("[client.a%d.b]\n", 10_000),
		"many bad services":  "[client]\n" + numbered("[client.services.a%d]\n", 9_000),
		"many good services": "[client]\n" + numbered("[client.services.a%d]\ntoken=\"t\"\nlocal_addr=\"h:1\"\n", 5_000),
		"garbage":            repeat("\x01\n", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			_, err := ParseClient([]byte(text))
			if err == nil {
				t.Fatal("accepted")
			}
			if n := len(err.Error()); n > 100_000 {
				t.Errorf("the error has %d bytes", n)
			}
			t.Logf("%s", time.Since(began))
		})
	}
}
