package rathole

import (
	"bytes"
	"fmt"

	"github.com/BurntSushi/toml"

	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// header warns whoever opens the file. It is part of the bytes that are hashed: change it and every config looks changed.
const header = "# Written by rathole-manager or rathole-agent. Changes made here by hand are overwritten.\n"

// Encode validates and renders the config. The same config always gives the same bytes: they are hashed, and compared
// with what an agent holds. The result holds secrets.
func (c ServerConfig) Encode() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	w := serverTable{
		BindAddr: c.BindAddr, DefaultToken: reveal(c.DefaultToken), HeartbeatInterval: c.HeartbeatInterval,
		Transport: transportOf(c.Transport), Services: map[string]serverServiceTable{},
	}
	for name, s := range c.Services {
		w.Services[name] = serverServiceTable{Type: string(s.Type), Token: reveal(s.Token), BindAddr: s.BindAddr, Nodelay: s.Nodelay}
	}
	return render(struct {
		Server serverTable `toml:"server"`
	}{w})
}

// Encode validates and renders the config. The same config always gives the same bytes: they are hashed, and compared
// with what an agent holds. The result holds secrets.
func (c ClientConfig) Encode() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	w := clientTable{
		RemoteAddr: c.RemoteAddr, DefaultToken: reveal(c.DefaultToken), HeartbeatTimeout: c.HeartbeatTimeout,
		RetryInterval: c.RetryInterval, Transport: transportOf(c.Transport), Services: map[string]clientServiceTable{},
	}
	for name, s := range c.Services {
		w.Services[name] = clientServiceTable{
			Type: string(s.Type), Token: reveal(s.Token), LocalAddr: s.LocalAddr, Nodelay: s.Nodelay, RetryInterval: s.RetryInterval,
		}
	}
	return render(struct {
		Client clientTable `toml:"client"`
	}{w})
}

func render(file any) ([]byte, error) {
	out := bytes.NewBufferString(header)
	enc := toml.NewEncoder(out)
	enc.Indent = ""
	if err := enc.Encode(file); err != nil {
		return nil, fmt.Errorf("render rathole config: %w", err)
	}
	return out.Bytes(), nil
}

// The file as it is written: plain strings where the config holds secrets, and keys in the order in which people expect
// them. Every type lists rathole's keys once.
type (
	serverTable struct {
		BindAddr          string                        `toml:"bind_addr"`
		DefaultToken      *string                       `toml:"default_token"`
		HeartbeatInterval uint64                        `toml:"heartbeat_interval,omitzero"`
		Transport         transportTable                `toml:"transport"`
		Services          map[string]serverServiceTable `toml:"services"`
	}
	serverServiceTable struct {
		Type     string  `toml:"type"`
		Token    *string `toml:"token"`
		BindAddr string  `toml:"bind_addr"`
		Nodelay  *bool   `toml:"nodelay"`
	}
	clientTable struct {
		RemoteAddr       string                        `toml:"remote_addr"`
		DefaultToken     *string                       `toml:"default_token"`
		HeartbeatTimeout uint64                        `toml:"heartbeat_timeout,omitzero"`
		RetryInterval    uint64                        `toml:"retry_interval,omitzero"`
		Transport        transportTable                `toml:"transport"`
		Services         map[string]clientServiceTable `toml:"services"`
	}
	clientServiceTable struct {
		Type          string  `toml:"type"`
		Token         *string `toml:"token"`
		LocalAddr     string  `toml:"local_addr"`
		Nodelay       *bool   `toml:"nodelay"`
		RetryInterval *uint64 `toml:"retry_interval"`
	}
	transportTable struct {
		Type      string          `toml:"type"`
		TCP       *tcpTable       `toml:"tcp"`
		TLS       *tlsTable       `toml:"tls"`
		Noise     *noiseTable     `toml:"noise"`
		Websocket *websocketTable `toml:"websocket"`
	}
	tcpTable struct {
		Nodelay           *bool   `toml:"nodelay"`
		KeepaliveSecs     uint64  `toml:"keepalive_secs,omitzero"`
		KeepaliveInterval uint64  `toml:"keepalive_interval,omitzero"`
		Proxy             *string `toml:"proxy"`
	}
	tlsTable struct {
		Hostname       string  `toml:"hostname,omitempty"`
		TrustedRoot    string  `toml:"trusted_root,omitempty"`
		PKCS12         string  `toml:"pkcs12,omitempty"`
		PKCS12Password *string `toml:"pkcs12_password"`
	}
	noiseTable struct {
		Pattern         string  `toml:"pattern,omitempty"`
		LocalPrivateKey *string `toml:"local_private_key"`
		RemotePublicKey string  `toml:"remote_public_key,omitempty"`
	}
	websocketTable struct {
		TLS bool `toml:"tls"`
	}
)

func transportOf(t Transport) transportTable {
	w := transportTable{Type: t.Type}
	if w.Type == "" {
		w.Type = transportTCP
	}
	if t.TCP != nil {
		w.TCP = &tcpTable{t.TCP.Nodelay, t.TCP.KeepaliveSecs, t.TCP.KeepaliveInterval, reveal(t.TCP.Proxy)}
	}
	if t.TLS != nil {
		w.TLS = &tlsTable{t.TLS.Hostname, t.TLS.TrustedRoot, t.TLS.PKCS12, reveal(t.TLS.PKCS12Password)}
	}
	if t.Noise != nil {
		w.Noise = &noiseTable{t.Noise.Pattern, reveal(t.Noise.LocalPrivateKey), t.Noise.RemotePublicKey}
	}
	if t.Websocket != nil {
		w.Websocket = &websocketTable{t.Websocket.TLS}
	}
	return w
}

// reveal gives a secret to the encoder, nil for none.
func reveal(s secret.String) *string {
	if s.IsZero() {
		return nil
	}
	value := s.Reveal()
	return &value
}
