package rathole

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// ParseServer reads the text of a server's config as strictly as rathole does and more: what Validate refuses is refused
// here too, with the line. The error is a *ConfigError with everything that is wrong.
func ParseServer(text []byte) (ServerConfig, error) {
	c := ServerConfig{}
	d, err := newDecoder(text, "server", "client")
	if err != nil {
		return c, err
	}
	d.half.str("bind_addr", &c.BindAddr)
	d.half.secret("default_token", &c.DefaultToken)
	d.half.number("heartbeat_interval", &c.HeartbeatInterval)
	d.transport(&c.Transport)
	c.Services = map[string]ServerService{}
	d.services(func(name string, t *table) {
		s := ServerService{Type: api.TCP}
		t.protocol("type", &s.Type)
		t.secret("token", &s.Token)
		t.str("bind_addr", &s.BindAddr)
		t.boolean("nodelay", &s.Nodelay)
		c.Services[name] = s
	})
	d.half.close()
	return c, d.finish(c.problems())
}

// ParseClient reads the text of a client's config as strictly as rathole does and more: what Validate refuses is refused
// here too, with the line. The error is a *ConfigError with everything that is wrong.
func ParseClient(text []byte) (ClientConfig, error) {
	c := ClientConfig{}
	d, err := newDecoder(text, "client", "server")
	if err != nil {
		return c, err
	}
	d.half.str("remote_addr", &c.RemoteAddr)
	d.half.secret("default_token", &c.DefaultToken)
	d.half.number("heartbeat_timeout", &c.HeartbeatTimeout)
	d.half.number("retry_interval", &c.RetryInterval)
	d.transport(&c.Transport)
	c.Services = map[string]ClientService{}
	d.services(func(name string, t *table) {
		s := ClientService{Type: api.TCP}
		t.protocol("type", &s.Type)
		t.secret("token", &s.Token)
		t.str("local_addr", &s.LocalAddr)
		t.boolean("nodelay", &s.Nodelay)
		t.optionalNumber("retry_interval", &s.RetryInterval)
		c.Services[name] = s
	})
	d.half.close()
	return c, d.finish(c.problems())
}

// decoder holds one parsed text. It walks the tables itself, because the library's own mapping stops at the first wrong
// type and ignores the case of keys, which rathole does not.
type decoder struct {
	md    toml.MetaData
	half  *table                    // [server] or [client]
	seen  map[string]toml.Primitive // every key of every table that was opened
	found []problem
}

func newDecoder(text []byte, half, otherHalf string) (*decoder, error) {
	if found := checkDialect(text); len(found) > 0 {
		return nil, configError(found, nil)
	}
	root := map[string]toml.Primitive{}
	md, err := toml.Decode(string(text), &root)
	if err != nil {
		return nil, configError([]problem{syntaxProblem(err)}, nil)
	}
	d := &decoder{md: md, seen: map[string]toml.Primitive{}}
	top := &table{d: d, entries: root, asked: map[string]bool{half: true}}
	for name, value := range root {
		d.seen[toml.Key{name}.String()] = value
	}
	if _, both := root[otherHalf]; both {
		top.asked[otherHalf] = true
		d.refuse(toml.Key{otherHalf}, fmt.Sprintf("a %s's config must not have a [%s] table", half, otherHalf))
	}
	d.half = top.sub(half)
	if d.half == nil {
		if _, exists := root[half]; !exists {
			d.refuse(nil, fmt.Sprintf("the table [%s] is missing", half))
		}
		top.close()
		return nil, d.finish(nil)
	}
	top.close()
	return d, nil
}

func (d *decoder) refuse(key toml.Key, message string) {
	d.found = append(d.found, problem{key: key, message: message})
}

// services reads the table that rathole requires even when it is empty.
func (d *decoder) services(read func(name string, t *table)) {
	key := d.half.path("services")
	if _, exists := d.half.entries["services"]; !exists {
		d.refuse(key, fmt.Sprintf("the table [%s] is missing; it may be empty", showKey(key)))
	}
	all := d.half.sub("services")
	if all == nil {
		return
	}
	for name := range all.entries {
		t := all.sub(name)
		if t == nil {
			continue
		}
		read(name, t)
		t.close()
	}
}

func (d *decoder) transport(tr *Transport) {
	tr.Type = transportTCP
	t := d.half.sub("transport")
	if t == nil {
		return
	}
	if _, exists := t.entries["type"]; !exists {
		d.refuse(t.path("type"), "must be set where the table exists")
	}
	t.str("type", &tr.Type)
	if tcp := t.sub("tcp"); tcp != nil {
		tr.TCP = &TCPTransport{}
		tcp.boolean("nodelay", &tr.TCP.Nodelay)
		tcp.number("keepalive_secs", &tr.TCP.KeepaliveSecs)
		tcp.number("keepalive_interval", &tr.TCP.KeepaliveInterval)
		tcp.secret("proxy", &tr.TCP.Proxy)
		tcp.close()
	}
	if tls := t.sub("tls"); tls != nil {
		tr.TLS = &TLSTransport{}
		tls.str("hostname", &tr.TLS.Hostname)
		tls.str("trusted_root", &tr.TLS.TrustedRoot)
		tls.str("pkcs12", &tr.TLS.PKCS12)
		tls.secret("pkcs12_password", &tr.TLS.PKCS12Password)
		tls.close()
	}
	if noise := t.sub("noise"); noise != nil {
		tr.Noise = &NoiseTransport{}
		noise.str("pattern", &tr.Noise.Pattern)
		noise.secret("local_private_key", &tr.Noise.LocalPrivateKey)
		noise.str("remote_public_key", &tr.Noise.RemotePublicKey)
		noise.close()
	}
	if ws := t.sub("websocket"); ws != nil {
		tr.Websocket = &WebsocketTransport{}
		var tls *bool
		ws.boolean("tls", &tls)
		ws.close()
		if tls != nil {
			tr.Websocket.TLS = *tls
		} else if _, exists := ws.entries["tls"]; !exists {
			d.refuse(ws.path("tls"), "must be set: true or false")
		}
	}
	t.close()
}

// finish adds what the values are refused for, unless the same key was refused already.
func (d *decoder) finish(values []problem) error {
	refused := map[string]bool{}
	for _, p := range d.found {
		refused[p.key.String()] = true
	}
	for _, p := range values {
		if !refused[p.key.String()] {
			d.found = append(d.found, p)
		}
	}
	return configError(d.found, d.line)
}

// line finds where a key stands, or for a missing one the table that lacks it; 0 if there is neither. A table that was
// never written, only implied by [a.b.c] or a.b.c = 1, stands where its first key does.
func (d *decoder) line(key toml.Key) int {
	for ; len(key) > 0; key = key[:len(key)-1] {
		if line := d.position(key); line > 0 {
			return line
		}
		inside := slices.IndexFunc(d.md.Keys(), func(k toml.Key) bool {
			return len(k) > len(key) && slices.Equal(k[:len(key)], key)
		})
		if inside < 0 {
			continue
		}
		if line := d.position(d.md.Keys()[inside]); line > 0 {
			return line
		}
	}
	return 0
}

// position asks the parser for the line of a key that was written, 0 for any other. It tells only in errors.
func (d *decoder) position(key toml.Key) int {
	known := len(key)
	for known > 0 && !d.wasSeen(key[:known]) {
		known--
	}
	if known == 0 {
		return 0
	}
	value := d.seen[key[:known].String()]
	for _, part := range key[known:] {
		inner := map[string]toml.Primitive{}
		if err := d.md.PrimitiveDecode(value, &inner); err != nil {
			return 0
		}
		next, exists := inner[part]
		if !exists {
			return 0
		}
		value = next
	}
	var at toml.ParseError
	if errors.As(d.md.PrimitiveDecode(value, &linePeek{}), &at) {
		return at.Position.Line
	}
	return 0
}

func (d *decoder) wasSeen(key toml.Key) bool {
	_, seen := d.seen[key.String()]
	return seen
}

// linePeek is a type that nothing decodes into, so that the parser reports where it stands.
type linePeek struct{}

// UnmarshalTOML refuses.
func (*linePeek) UnmarshalTOML(any) error { return errors.New("position asked for") }

// syntaxProblem keeps of the parser's message only what cannot hold a piece of the text: for `token = hunter2` the
// original quotes the token.
func syntaxProblem(err error) problem {
	var at toml.ParseError
	if !errors.As(err, &at) {
		return problem{message: "the config is not TOML"}
	}
	message := "not a valid TOML value; text stands in double quotes"
	for _, harmless := range []string{
		"unexpected", "strings cannot contain newlines", "TOML files cannot contain control characters",
		"expected a top-level item", "expected '.' or", "expected end of table", "expected a comma",
	} {
		if strings.HasPrefix(at.Message, harmless) {
			message, _, _ = strings.Cut(at.Message, ", but got")
			break
		}
	}
	if name, twice := strings.CutPrefix(at.Message, "Key '"); twice {
		name, _, _ = strings.Cut(name, "'")
		message = "defined twice: " + showKey(strings.Split(name, "."))
	}
	return problem{line: at.Position.Line, message: message}
}
