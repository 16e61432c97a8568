// Package agent is the service on each game host: it runs one rathole client per instance, from the config that it is
// given.
package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// DefaultListen is the agent's port in the guide.
const DefaultListen = ":8081"

// Config is what an Agent works with.
type Config struct {
	// Managers are the hosts that a client may dial, by name or address. Empty: any, which is warned of.
	Managers []string
	// ManagerPort is where the managers' APIs listen, for asking now and then whether they answer. 0: they are not asked.
	ManagerPort int
	// Targets are where a client may forward to, beside loopback and this machine's own addresses: addresses, networks
	// (CIDR) and names.
	Targets []string
	// State and Logs are directories; both are made if needed.
	State, Logs string
	// Binary is the rathole executable; empty: the one in PATH.
	Binary string
	// Token is the API token; empty: no authentication.
	Token secret.String
	// UIDs are the unix users of the engines, one each; the zero range: the service's own for all.
	UIDs supervisor.UIDRange
	// StopOnExit stops the engines when Run returns.
	StopOnExit bool
	// OmitUnitMetrics leaves the series of single clients out of the metrics; their sums stay.
	OmitUnitMetrics bool
	Version         string
	Log             *slog.Logger

	// BackoffMin is the first pause after an engine ended; 0: the supervisor's default.
	BackoffMin time.Duration
	// Crash is called at each named crash point; only tests set it.
	Crash func(point string)
}

// Check tells, in sentences, what cannot work and how to mend it.
func (c *Config) Check() error {
	for _, host := range c.Managers {
		if !rathole.ValidHost(host) {
			return fmt.Errorf("RATHOLE_INSTANCE_MANAGER_HOST %q is no host name and no address", host)
		}
	}
	for _, t := range c.Targets {
		if _, err := netip.ParsePrefix(t); err != nil && !rathole.ValidHost(t) {
			return fmt.Errorf("RATHOLE_ALLOWED_TARGETS %q is no address, no network such as 172.18.0.0/16, and no name", t)
		}
	}
	if c.ManagerPort < 0 || c.ManagerPort > 65535 {
		return fmt.Errorf("RATHOLE_INSTANCE_MANAGER_PORT %d is no port", c.ManagerPort)
	}
	if len(c.Managers) == 0 {
		c.Log.Warn("RATHOLE_INSTANCE_MANAGER_HOST is not set: whoever has the token can make this host dial any server")
	}
	return nil
}

// lookupTimeout bounds how long a manager's name may take to resolve while a caller waits.
const lookupTimeout = 2 * time.Second

// mayDial tells whether a client may have host as its server: it is one of the managers' names, or one of their addresses.
func (c *Config) mayDial(ctx context.Context, host string) bool {
	if len(c.Managers) == 0 || slices.ContainsFunc(c.Managers, func(m string) bool { return strings.EqualFold(m, host) }) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	for _, m := range c.Managers {
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", m)
		if err == nil && slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Unmap() == ip.Unmap() }) {
			return true
		}
	}
	return false
}

// mayForward tells whether a client may have host as the address of a game. A name is allowed by name only: what it
// resolves to is in the hands of whoever runs its zone.
func (c *Config) mayForward(host string) bool {
	if strings.EqualFold(host, "localhost") || slices.ContainsFunc(c.Targets, func(t string) bool { return strings.EqualFold(t, host) }) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ip = ip.Unmap()
	if ip.IsLoopback() {
		return true
	}
	for _, t := range c.Targets {
		if network, err := netip.ParsePrefix(t); err == nil && network.Contains(ip) {
			return true
		}
	}
	return isOwn(ip)
}

// isOwn tells whether an address is one of this machine's.
func isOwn(ip netip.Addr) bool {
	return slices.Contains(ownAddresses(), ip)
}

// ownAddresses are this machine's addresses; none if they cannot be read.
func ownAddresses() []netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var own []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr().Unmap())
		}
	}
	return own
}
