// Package manager is the service on the public machine: it creates, supervises and removes one rathole server per
// instance, hands out the configs of their clients, and knows every port.
package manager

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// The ports of the guide.
const (
	DefaultListen    = ":7001"
	DefaultPortStart = 10000
	DefaultPortEnd   = 20000
)

// Config is what a Manager works with.
type Config struct {
	// Control holds the control ports: each instance's rathole server listens on one. RATHOLE_PORT_START/END or
	// RATHOLE_PORTS.
	Control []api.PortRange
	// Public holds the ports that instances may offer to players. Empty: 1024-65535 less Control and APIPort.
	Public []api.PortRange
	// APIPort is where the HTTP API listens; no instance may have it. 0 if it is not on this machine's addresses.
	APIPort int
	// PublicHost is what clients dial: a host name or an address.
	PublicHost string
	// Bind is the address of control and public ports. The zero Addr: [::] if the machine's IPv6 sockets take IPv4 too,
	// else 0.0.0.0.
	Bind netip.Addr
	// State and Logs are directories; both are made if needed.
	State, Logs string
	// Binary is the rathole executable; empty: the one in PATH.
	Binary string
	// Token is the API token; empty: no authentication.
	Token secret.String
	// UIDs are the unix users of the engines, one each; the zero range: the service's own for all.
	UIDs supervisor.UIDRange
	// ProbeInterval is how often each instance's game is asked whether players reach it, at least 10 s; 0: only when a caller
	// asks for it.
	ProbeInterval time.Duration
	// StopOnExit stops the engines when Run returns.
	StopOnExit bool
	// OmitUnitMetrics leaves the series of single instances out of the metrics; their sums stay.
	OmitUnitMetrics bool
	Version         string
	Log             *slog.Logger

	// BackoffMin is the first pause after an engine ended; 0: the supervisor's default.
	BackoffMin time.Duration
	// Crash is called at each named crash point; only tests set it.
	Crash func(point string)
}

// Check completes the config and tells, in sentences, what cannot work and how to mend it.
func (c *Config) Check() error {
	if len(c.Control) == 0 {
		c.Control = []api.PortRange{{Start: DefaultPortStart, End: DefaultPortEnd}}
	}
	return errors.Join(c.checkRanges(), c.checkBind(), c.checkPublicHost(), c.checkProbes())
}

func (c *Config) checkRanges() error {
	for _, r := range c.Control {
		if err := checkRange("control", r, "RATHOLE_PORT_START/RATHOLE_PORT_END or RATHOLE_PORTS"); err != nil {
			return err
		}
		if c.APIPort != 0 && contains(r, c.APIPort) {
			return fmt.Errorf("the API's port %d lies inside the control ports %s: move RATHOLE_LISTEN, or the control ports by "+
				"RATHOLE_PORT_START/RATHOLE_PORT_END", c.APIPort, show(r))
		}
	}
	if a, b, ok := overlap(c.Control, c.Control); ok {
		return fmt.Errorf("the control ports %s and %s overlap: RATHOLE_PORTS must name each port once", show(a), show(b))
	}
	if len(c.Public) == 0 {
		c.Public = subtract(api.PortRange{Start: 1024, End: 65535}, append([]api.PortRange{{Start: c.APIPort, End: c.APIPort}}, c.Control...))
		return nil
	}
	for _, r := range c.Public {
		if err := checkRange("public", r, "RATHOLE_PUBLIC_PORTS"); err != nil {
			return err
		}
		if c.APIPort != 0 && contains(r, c.APIPort) {
			return fmt.Errorf("the API's port %d lies inside the public ports %s: players could be given it; leave it out of "+
				"RATHOLE_PUBLIC_PORTS or move RATHOLE_LISTEN", c.APIPort, show(r))
		}
	}
	if a, b, ok := overlap(c.Public, c.Control); ok {
		return fmt.Errorf("the public ports %s overlap the control ports %s: give RATHOLE_PUBLIC_PORTS ranges outside the control "+
			"ports, or move those by RATHOLE_PORT_START/RATHOLE_PORT_END", show(a), show(b))
	}
	if a, b, ok := overlap(c.Public, c.Public); ok {
		return fmt.Errorf("the public ports %s and %s overlap: RATHOLE_PUBLIC_PORTS must name each port once", show(a), show(b))
	}
	return nil
}

func (c *Config) checkBind() error {
	if c.Bind.IsValid() && c.Bind != netip.IPv6Unspecified() {
		return nil
	}
	dual, err := sockets.DualStack()
	switch {
	case !c.Bind.IsValid() && err == nil && dual:
		c.Bind = netip.IPv6Unspecified()
		c.Log.Info("binding control and public ports on [::]", "why", "its sockets take IPv4 as well")
	case !c.Bind.IsValid():
		c.Bind = netip.IPv4Unspecified()
		c.Log.Info("binding control and public ports on 0.0.0.0", "why", "this machine has no IPv6 socket that takes IPv4 as well", "error", err)
	case err != nil:
		return fmt.Errorf("RATHOLE_BIND_ADDRESS is [::], but this machine cannot bind it: %w; use 0.0.0.0", err)
	case !dual:
		return errors.New("RATHOLE_BIND_ADDRESS is [::], but net.ipv6.bindv6only is 1, so IPv4 players would be shut out: " +
			"run `sysctl -w net.ipv6.bindv6only=0`, or use 0.0.0.0")
	}
	return nil
}

func (c *Config) checkPublicHost() error {
	if c.PublicHost == "" {
		if c.Bind.IsLoopback() {
			c.PublicHost = c.Bind.String()
			return nil
		}
		return errors.New("RATHOLE_PUBLIC_HOST is not set: give the name or address by which clients and players reach this machine")
	}
	c.PublicHost = strings.Trim(c.PublicHost, "[]")
	if !rathole.ValidHost(c.PublicHost) {
		return fmt.Errorf("RATHOLE_PUBLIC_HOST %q is no host name and no address", c.PublicHost)
	}
	if ip, err := netip.ParseAddr(c.PublicHost); err == nil && ip.IsUnspecified() {
		return fmt.Errorf("RATHOLE_PUBLIC_HOST is %s, which nobody can dial: give the name or address by which clients and players reach this machine", ip)
	}
	return nil
}

func (c *Config) checkProbes() error {
	if c.ProbeInterval != 0 && c.ProbeInterval < minProbeInterval {
		return fmt.Errorf("RATHOLE_PROBE_INTERVAL is %s: set %s or more, or 0 to probe only on demand", c.ProbeInterval, minProbeInterval)
	}
	return nil
}

// offersLowPorts tells whether players may be given a port that only the privileged can bind.
func (c *Config) offersLowPorts() bool {
	return slices.ContainsFunc(c.Public, func(r api.PortRange) bool { return r.Start < 1024 })
}

// bindTo is the address of a port on this machine, as rathole's config has it.
func (c *Config) bindTo(port int) string {
	return netip.AddrPortFrom(c.Bind, uint16(port)).String()
}

// dial is the address of a port as clients and players reach it.
func (c *Config) dial(port int) string {
	return net.JoinHostPort(c.PublicHost, fmt.Sprint(port))
}
