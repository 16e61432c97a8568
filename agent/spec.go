package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// spec is what the agent knows of a client: its part of the record. The record's Config is what the engine runs with.
type spec struct {
	Pushed     string            `json:"pushed"` // the config byte for byte as it came
	RemoteAddr string            `json:"remote_addr"`
	Transport  string            `json:"transport"`
	Services   map[string]target `json:"services"` // by the engine's name
	// Bounced are the services whose channels the engine was made to make anew, an odd number of times.
	Bounced []string `json:"bounced,omitempty"`
}

type target struct {
	Protocol  api.Protocol `json:"protocol"`
	LocalAddr string       `json:"local_addr"`
}

func (s spec) digest() string {
	sum := sha256.Sum256([]byte(s.Pushed))
	return hex.EncodeToString(sum[:])
}

// remoteHost is whose client this is.
func (s spec) remoteHost() string {
	host, _, err := net.SplitHostPort(s.RemoteAddr)
	if err != nil {
		return s.RemoteAddr
	}
	return host
}

// accept reads a pushed config and decides whether this agent runs it. A refusal is an *api.Problem.
func (a *Agent) accept(ctx context.Context, text string) (spec, error) {
	c, err := rathole.ParseClient([]byte(text))
	if err != nil {
		return spec{}, unreadable(err)
	}
	s := spec{Pushed: text, RemoteAddr: c.RemoteAddr, Transport: c.Transport.Type, Services: map[string]target{}}
	if s.Transport == "" {
		s.Transport = string(api.TransportTCP)
	}
	for name, svc := range c.Services {
		s.Services[name] = target{Protocol: svc.Type, LocalAddr: svc.LocalAddr}
	}
	if c.Transport.TCP != nil && !c.Transport.TCP.Proxy.IsZero() {
		return spec{}, &api.Problem{
			Status: http.StatusUnprocessableEntity, Code: api.CodeRemoteNotAllowed,
			Detail: "the config sends the tunnel through a proxy: an agent dials its manager itself",
			Errors: []api.FieldError{{Location: "client.transport.tcp.proxy", Message: "not allowed"}},
		}
	}
	if !a.cfg.mayDial(ctx, s.remoteHost()) {
		return spec{}, &api.Problem{
			Status: http.StatusUnprocessableEntity, Code: api.CodeRemoteNotAllowed,
			Detail: fmt.Sprintf("remote_addr %s is none of this agent's managers: add it to RATHOLE_INSTANCE_MANAGER_HOST if it should be", s.RemoteAddr),
			Errors: []api.FieldError{{Location: "client.remote_addr", Message: "not one of RATHOLE_INSTANCE_MANAGER_HOST", Value: s.RemoteAddr}},
		}
	}
	if err := a.checkTargets(s); err != nil {
		return spec{}, err
	}
	return s, a.engine.Require(ctx, api.Transport(s.Transport), "client.transport.type")
}

func (a *Agent) checkTargets(s spec) error {
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		addr := s.Services[name].LocalAddr
		host, _, err := net.SplitHostPort(addr)
		if err == nil && a.cfg.mayForward(host) {
			continue
		}
		return &api.Problem{
			Status: http.StatusUnprocessableEntity, Code: api.CodeTargetNotAllowed,
			Detail: fmt.Sprintf("local_addr %s is not on this machine: this agent forwards to loopback and the machine's own addresses; "+
				"add the name, address or network to RATHOLE_ALLOWED_TARGETS if players should reach it", addr),
			Errors: []api.FieldError{{Location: "client.services." + name + ".local_addr", Message: "not an allowed target", Value: addr}},
		}
	}
	return nil
}

// unreadable tells what is wrong with a config, by key and line.
func unreadable(err error) *api.Problem {
	p := &api.Problem{Status: http.StatusUnprocessableEntity, Code: api.CodeInvalidConfig, Detail: "the client config is not valid; what runs is left as it is"}
	var c *rathole.ConfigError
	if errors.As(err, &c) {
		p.Errors = c.Problems
		return p
	}
	p.Detail += ": " + err.Error()
	return p
}
