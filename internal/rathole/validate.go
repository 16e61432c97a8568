package rathole

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// maxSeconds bounds pauses and heartbeats: an hour without a sign of life helps nobody.
const maxSeconds = 3600

// maxServices bounds a config. An instance is one game server; a rathole with more has no file descriptors left
// (14 for each, on each side) under any usual limit.
const maxServices = 1000

// maxKeepalive is the kernel's MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL, seconds.
const maxKeepalive = 32767

// Validate refuses what rathole refuses, and what it accepts only to run without ever working: empty tokens, keys of the
// wrong length, ports that cannot be, two services on one public port. The error is a *ConfigError.
func (c ServerConfig) Validate() error { return configError(c.problems(), nil) }

// Validate refuses what rathole refuses, and what it accepts only to run without ever working: empty tokens, keys of the
// wrong length, addresses that cannot be dialled. The error is a *ConfigError.
func (c ClientConfig) Validate() error { return configError(c.problems(), nil) }

func (c ServerConfig) problems() []problem {
	v := &validator{half: "server"}
	control := v.address(c.BindAddr, true, "bind_addr")
	v.utf8(c.DefaultToken, "default_token")
	v.seconds(c.HeartbeatInterval, maxSeconds, "heartbeat_interval")
	v.transport(c.Transport)
	bound := []listener{{tcpPort: true, addr: control, name: "the control port"}}
	if len(c.Services) > maxServices {
		v.refuse(len(c.Services), fmt.Sprintf("must be at most %d", maxServices), "services")
		return v.found
	}
	for _, name := range slices.Sorted(maps.Keys(c.Services)) {
		s := c.Services[name]
		v.service(name, s.Type, s.Token, c.DefaultToken)
		l := listener{tcpPort: s.Type == api.TCP, addr: v.address(s.BindAddr, true, "services", name, "bind_addr")}
		l.name = "service " + showName(name)
		for _, other := range bound {
			if l.overlaps(other) {
				v.refuse(s.BindAddr, "is the port of "+other.name+" too; rathole would try for ever to listen there", "services", name, "bind_addr")
			}
		}
		bound = append(bound, l)
	}
	return v.found
}

func (c ClientConfig) problems() []problem {
	v := &validator{half: "client"}
	v.address(c.RemoteAddr, false, "remote_addr")
	v.utf8(c.DefaultToken, "default_token")
	v.seconds(c.HeartbeatTimeout, maxSeconds, "heartbeat_timeout")
	v.seconds(c.RetryInterval, maxSeconds, "retry_interval")
	v.transport(c.Transport)
	if len(c.Services) > maxServices {
		v.refuse(len(c.Services), fmt.Sprintf("must be at most %d", maxServices), "services")
		return v.found
	}
	for _, name := range slices.Sorted(maps.Keys(c.Services)) {
		s := c.Services[name]
		v.service(name, s.Type, s.Token, c.DefaultToken)
		v.address(s.LocalAddr, false, "services", name, "local_addr")
		if s.RetryInterval != nil && *s.RetryInterval == 0 {
			v.refuse(nil, "must be a number of seconds, 1 or more", "services", name, "retry_interval")
		} else if s.RetryInterval != nil {
			v.seconds(*s.RetryInterval, maxSeconds, "services", name, "retry_interval")
		}
	}
	return v.found
}

// listener is one socket that a server will bind.
type listener struct {
	tcpPort bool
	addr    hostPort
	name    string
}

// overlaps tells whether the kernel would refuse the second of two listeners. Host names are compared as text.
func (l listener) overlaps(other listener) bool {
	if l.tcpPort != other.tcpPort || l.addr.port == 0 || l.addr.port != other.addr.port {
		return false
	}
	return l.addr.host == other.addr.host || unspecified(l.addr.host) || unspecified(other.addr.host)
}

type hostPort struct {
	host string
	port int // 0 if the address was refused
}

type validator struct {
	half  string // server or client
	found []problem
}

func (v *validator) refuse(value any, message string, key ...string) {
	v.found = append(v.found, problem{key: append(toml.Key{v.half}, key...), message: message, value: value})
}

func (v *validator) service(name string, p api.Protocol, token, fallback secret.String) {
	if !validEngineService(name) {
		v.refuse(nil, "a service's name has 1 to 64 of a-z, 0-9, _ and -; it goes raw into rathole's log", "services", name)
	}
	if p != api.TCP && p != api.UDP {
		v.refuse(short(string(p)), `must be "tcp" or "udp", in lower case`, "services", name, "type")
	}
	if token.IsZero() && fallback.IsZero() {
		v.refuse(nil, "must be set and not empty; with an empty token anybody could take the service over", "services", name, "token")
	}
	v.utf8(token, "services", name, "token")
}

// utf8 refuses a secret that no TOML file can hold.
func (v *validator) utf8(s secret.String, key ...string) {
	if !utf8.ValidString(s.Reveal()) {
		v.refuse(nil, "must be UTF-8", key...)
	}
}

// seconds judges an optional number; 0 is absent.
func (v *validator) seconds(n, limit uint64, key ...string) {
	if n > limit {
		v.refuse(n, fmt.Sprintf("must be a number of seconds, 1 to %d", limit), key...)
	}
}

// address judges host:port. Only an address to listen on may be a wildcard.
func (v *validator) address(s string, toListen bool, key ...string) hostPort {
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		v.refuse(short(s), "must be host:port, such as 127.0.0.1:30000 or [::1]:30000", key...)
		return hostPort{}
	}
	if !ValidHost(host) {
		v.refuse(short(s), "the host must be an IP address or a host name (RFC 1123)", key...)
		return hostPort{}
	}
	if !toListen && unspecified(host) {
		v.refuse(short(s), host+" is an address to listen on, not one to connect to", key...)
		return hostPort{}
	}
	port, err := strconv.Atoi(portText)
	if err != nil || port < 1 || port > 65535 || strconv.Itoa(port) != portText {
		v.refuse(short(s), "the port must be a number from 1 to 65535", key...)
		return hostPort{}
	}
	return hostPort{host: host, port: port}
}

func unspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsUnspecified()
}

func (v *validator) transport(t Transport) {
	switch t.Type {
	case "", transportTCP:
	case transportTLS:
		v.tls(t.TLS)
	case transportNoise:
		v.noise(t.Noise)
	case transportWebsocket:
		if t.Websocket == nil {
			v.refuse(nil, "the table is missing", "transport", "websocket")
		} else if t.Websocket.TLS {
			v.tls(t.TLS)
		}
	default:
		v.refuse(short(t.Type), `must be "tcp", "tls", "noise" or "websocket", in lower case`, "transport", "type")
	}
	if t.Noise != nil {
		v.noiseKeys(*t.Noise)
	}
	if t.TCP != nil {
		v.seconds(t.TCP.KeepaliveSecs, maxKeepalive, "transport", "tcp", "keepalive_secs")
		v.seconds(t.TCP.KeepaliveInterval, maxKeepalive, "transport", "tcp", "keepalive_interval")
		v.proxy(t.TCP.Proxy)
	}
}

func (v *validator) tls(t *TLSTransport) {
	if t == nil {
		v.refuse(nil, "the table is missing", "transport", "tls")
		return
	}
	if v.half != "server" {
		return
	}
	if t.PKCS12 == "" {
		v.refuse(nil, "must be set: the server's identity", "transport", "tls", "pkcs12")
	}
	if t.PKCS12Password.IsZero() {
		v.refuse(nil, "must be set and not empty", "transport", "tls", "pkcs12_password")
	}
}

// noise demands what each half cannot do without. rathole starts all the same: a server makes up a key that no client
// knows, a client fails for ever.
func (v *validator) noise(n *NoiseTransport) {
	if n == nil {
		v.refuse(nil, "the table is missing", "transport", "noise")
		return
	}
	if v.half == "server" && n.LocalPrivateKey.IsZero() {
		v.refuse(nil, "must be set: 32 bytes in base64", "transport", "noise", "local_private_key")
	}
	if v.half == "client" && n.RemotePublicKey == "" {
		v.refuse(nil, "must be set: 32 bytes in base64", "transport", "noise", "remote_public_key")
	}
}

func (v *validator) noiseKeys(n NoiseTransport) {
	if n.Pattern != "" && n.Pattern != NoisePattern {
		v.refuse(short(n.Pattern), "must be left out or "+NoisePattern, "transport", "noise", "pattern")
	}
	if !n.LocalPrivateKey.IsZero() && !validNoiseKey(n.LocalPrivateKey.Reveal()) {
		v.refuse(nil, "must be 32 bytes in base64, with padding", "transport", "noise", "local_private_key")
	}
	// No value: somebody may have put the private key here by mistake.
	if n.RemotePublicKey != "" && !validNoiseKey(n.RemotePublicKey) {
		v.refuse(nil, "must be 32 bytes in base64, with padding", "transport", "noise", "remote_public_key")
	}
}

// proxy judges the URL by what rathole needs of it: it aborts in the middle of a connect where host or port is missing.
func (v *validator) proxy(p secret.String) {
	if p.IsZero() {
		return
	}
	u, err := url.Parse(p.Reveal())
	if err != nil || (u.Scheme != "socks5" && u.Scheme != "http") || !ValidHost(u.Hostname()) {
		v.refuse(nil, "must be socks5://host:port or http://host:port", "transport", "tcp", "proxy")
		return
	}
	if port, err := strconv.Atoi(u.Port()); err != nil || port < 1 || port > 65535 {
		v.refuse(nil, "the port must be a number from 1 to 65535", "transport", "tcp", "proxy")
	}
}

// short keeps a refused value from blowing up an answer.
func short(s string) string {
	const limit = 256
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "..."
}
