package rathole

import (
	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// The transports that rathole 0.5.0 knows. Whether a given binary has them compiled in is Binary.Supports' answer.
const (
	transportTCP       = "tcp"
	transportTLS       = "tls"
	transportNoise     = "noise"
	transportWebsocket = "websocket"
)

// ServerConfig is the [server] table of a config: every key that rathole 0.5.0 reads there. A zero number or secret means
// that the key is absent and rathole's default holds.
type ServerConfig struct {
	BindAddr          string        // control port: host:port
	DefaultToken      secret.String // for services without a token of their own
	HeartbeatInterval uint64        // seconds, 1 to 3600; rathole's default is 30
	Transport         Transport
	Services          map[string]ServerService // by engine name, see ServiceName; nil is an empty table
}

// ServerService is one [server.services.<name>] table.
type ServerService struct {
	Type     api.Protocol
	Token    secret.String
	BindAddr string // public port: host:port
	Nodelay  *bool  // rathole's default is the transport's
}

// ClientConfig is the [client] table of a config: every key that rathole 0.5.0 reads there. A zero number or secret means
// that the key is absent and rathole's default holds.
type ClientConfig struct {
	RemoteAddr       string        // the server's control port: host:port
	DefaultToken     secret.String // for services without a token of their own
	HeartbeatTimeout uint64        // seconds, 1 to 3600; rathole's default is 40
	RetryInterval    uint64        // seconds, 1 to 3600: the longest pause between two attempts; rathole's default is 1
	Transport        Transport
	Services         map[string]ClientService // by engine name, see ServiceName; nil is an empty table
}

// ClientService is one [client.services.<name>] table.
type ClientService struct {
	Type          api.Protocol
	Token         secret.String
	LocalAddr     string  // where the game listens: host:port
	Nodelay       *bool   // rathole's default is the transport's
	RetryInterval *uint64 // seconds, 1 to 3600; rathole's default is the client's
}

// Transport is the [server.transport] or [client.transport] table. A nil pointer is an absent table; a table that Type
// does not use is legal, and idle.
type Transport struct {
	Type      string // tcp, tls, noise or websocket; empty is tcp
	TCP       *TCPTransport
	TLS       *TLSTransport
	Noise     *NoiseTransport
	Websocket *WebsocketTransport
}

// TCPTransport tunes the sockets between the halves.
type TCPTransport struct {
	Nodelay           *bool         // rathole's default is true
	KeepaliveSecs     uint64        // seconds, 1 to 32767 (the kernel's limit); rathole's default is 20
	KeepaliveInterval uint64        // seconds, 1 to 32767 (the kernel's limit); rathole's default is 8
	Proxy             secret.String // socks5:// or http:// URL that a client dials through; it may hold a password
}

// TLSTransport is for Type tls, and for websocket over TLS.
type TLSTransport struct {
	Hostname       string        // client: the name to expect in the certificate
	TrustedRoot    string        // client: path of a PEM file
	PKCS12         string        // server: path of the identity
	PKCS12Password secret.String // server
}

// NoiseTransport is for Type noise.
type NoiseTransport struct {
	Pattern         string        // empty, or rathole's default, NoisePattern
	LocalPrivateKey secret.String // server: X25519, 32 bytes in base64
	RemotePublicKey string        // client: X25519, 32 bytes in base64
}

// WebsocketTransport is for Type websocket.
type WebsocketTransport struct {
	TLS bool
}
