package manager

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// secrets are an instance's own; the API token is never among them. They are stored in the record and printed nowhere.
type secrets struct {
	Tokens       map[string]string `json:"tokens,omitempty"` // by the engine's service name
	NoisePrivate string            `json:"noise_private_key,omitempty"`
	NoisePublic  string            `json:"noise_public_key,omitempty"`
}

// String keeps secrets out of every log that prints a specification.
func (secrets) String() string { return "[redacted]" }

// GoString is String for %#v.
func (secrets) GoString() string { return "[redacted]" }

// renew gives s its secrets. A service keeps the token it had unless its definition changed: changed under its old token
// it would bounce twice, for the client's stale retry pre-empts the new channel.
func (s *spec) renew(before *spec) error {
	tokens := map[string]string{}
	for name, svc := range s.Services {
		for _, proto := range svc.Protocols {
			engine := rathole.ServiceName(name, proto)
			tokens[engine] = secret.Random().Reveal()
			if before == nil {
				continue
			}
			if kept, ok := before.Secrets.Tokens[engine]; ok && sameEndpoints(svc, before.Services[name]) {
				tokens[engine] = kept
			}
		}
	}
	keys := secrets{Tokens: tokens}
	switch {
	case s.Transport != api.TransportNoise:
	case before != nil && before.Transport == api.TransportNoise:
		keys.NoisePrivate, keys.NoisePublic = before.Secrets.NoisePrivate, before.Secrets.NoisePublic
	default:
		private, public, err := rathole.GenerateNoiseKeys()
		if err != nil {
			return fmt.Errorf("make noise keys: %w", err)
		}
		keys.NoisePrivate, keys.NoisePublic = private.Reveal(), public
	}
	s.Secrets = keys
	return nil
}

func sameEndpoints(a, b api.Service) bool {
	return a.PublicPort == b.PublicPort && a.LocalPort == b.LocalPort && a.LocalHost == b.LocalHost
}

// serverConfig renders what the instance's rathole server runs with.
func (m *Manager) serverConfig(s spec) (string, error) {
	c := rathole.ServerConfig{
		BindAddr:          m.cfg.bindTo(s.ControlPort),
		HeartbeatInterval: rathole.HeartbeatInterval,
		Services:          map[string]rathole.ServerService{},
	}
	if s.Transport == api.TransportNoise {
		c.Transport = rathole.Transport{Type: string(api.TransportNoise), Noise: &rathole.NoiseTransport{LocalPrivateKey: secret.New(s.Secrets.NoisePrivate)}}
	}
	for name, svc := range s.Services {
		for _, proto := range svc.Protocols {
			engine := rathole.ServiceName(name, proto)
			c.Services[engine] = rathole.ServerService{
				Type: proto, Token: secret.New(s.Secrets.Tokens[engine]), BindAddr: m.cfg.bindTo(svc.PublicPort),
			}
		}
	}
	text, err := c.Encode()
	return string(text), err
}

// clientConfig renders what the instance's client runs with. hostIP, if not empty, takes the place of the instance's own.
func (m *Manager) clientConfig(s spec, hostIP string) (string, error) {
	c := rathole.ClientConfig{
		RemoteAddr:       m.cfg.dial(s.ControlPort),
		HeartbeatTimeout: rathole.HeartbeatTimeout,
		Services:         map[string]rathole.ClientService{},
	}
	if s.Transport == api.TransportNoise {
		c.Transport = rathole.Transport{Type: string(api.TransportNoise), Noise: &rathole.NoiseTransport{RemotePublicKey: s.Secrets.NoisePublic}}
	}
	for name, svc := range s.Services {
		host := svc.LocalHost
		if hostIP != "" && host == s.HostIP {
			host = hostIP
		}
		for _, proto := range svc.Protocols {
			engine := rathole.ServiceName(name, proto)
			c.Services[engine] = rathole.ClientService{
				Type: proto, Token: secret.New(s.Secrets.Tokens[engine]),
				LocalAddr: net.JoinHostPort(host, strconv.Itoa(svc.LocalPort)),
			}
		}
	}
	text, err := c.Encode()
	return string(text), err
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
