// Command rathole-manager creates, supervises and removes rathole servers on a public machine.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/command"
	"github.com/satishost/terraform-provider-rathole/internal/doctor"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// version is set by the linker.
var version = "dev"

func main() {
	service.Exit(program(), run(context.Background(), os.Args[1:], os.Stdout, os.Stderr, nil))
}

func program() service.Program {
	return service.Program{
		Name: "rathole-manager", Version: version, UIDs: "200000:10001", Kind: command.Manager(),
		About: "Creates, supervises and removes one isolated rathole server per game server.",
	}
}

type cli struct {
	service.Flags
	service.Commands
	command.ManagerCommands
	Config        kong.ConfigFlag  `help:"TOML file with any of these settings, by their long names (default /etc/rathole-manager/config.toml, if it is there)." placeholder:"FILE"`
	Version       kong.VersionFlag `help:"Print the version."`
	Listen        string           `help:"Address of the API." default:":7001" env:"RATHOLE_LISTEN"`
	PublicHost    string           `help:"Name or address by which clients and players reach this machine." env:"RATHOLE_PUBLIC_HOST"`
	BindAddress   string           `help:"Address of control and public ports (default [::] if it takes IPv4 too, else 0.0.0.0)." env:"RATHOLE_BIND_ADDRESS" placeholder:"ADDRESS"`
	PortStart     int              `help:"First control port." default:"10000" env:"RATHOLE_PORT_START"`
	PortEnd       int              `help:"Last control port." default:"20000" env:"RATHOLE_PORT_END"`
	Ports         string           `help:"Control ports as a list of ranges, instead of first and last." env:"RATHOLE_PORTS" placeholder:"10000-15000,18000"`
	PublicPorts   string           `help:"Ports that instances may offer to players, as a list of ranges (default 1024-65535 without control ports and API port)." env:"RATHOLE_PUBLIC_PORTS" placeholder:"30000-32767"`
	ProbeInterval time.Duration    `help:"How often to ask each instance's game whether players reach it, such as 1m; at least 10s, 0 for only on demand." default:"0" env:"RATHOLE_PROBE_INTERVAL"`
	RatholeBinary string           `name:"binary" help:"The rathole executable (default: the one in PATH)." env:"RATHOLE_BINARY" placeholder:"FILE"`
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer, ready func(net.Addr)) error {
	var c cli
	parsed, err := service.Parse(&c, program(), args, stdout)
	if parsed == nil || err != nil {
		return err
	}
	switch parsed.Command() {
	case service.ServeName:
		return c.Flags.Serve(ctx, program(), c.Listen, stderr, c.build, ready)
	case service.DoctorName:
		return c.doctor(ctx, stdout)
	default:
		return c.Ask(ctx, parsed, program(), c.Listen, stdout, stderr)
	}
}

func (c cli) doctor(ctx context.Context, stdout io.Writer) error {
	settings, err := c.Settings(program(), c.Listen)
	if err != nil {
		return err
	}
	cfg, err := c.config(service.Setup{State: settings.State, Logs: settings.Logs, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return doctor.Report(stdout, c.Doctor.Output, manager.Doctor(ctx, doctor.This(), settings, cfg))
}

func (c cli) build(s service.Setup) (service.Service, error) {
	cfg, err := c.config(s)
	if err != nil {
		return nil, err
	}
	return manager.New(cfg)
}

func (c cli) config(s service.Setup) (manager.Config, error) {
	cfg := manager.Config{
		APIPort: s.APIPort, PublicHost: c.PublicHost, State: s.State, Logs: s.Logs, Binary: c.RatholeBinary,
		Token: s.Token, UIDs: s.UIDs, StopOnExit: s.StopOnExit, Version: version, OmitUnitMetrics: s.OmitUnitMetrics, Log: s.Log,
		Control: []api.PortRange{{Start: c.PortStart, End: c.PortEnd}}, ProbeInterval: c.ProbeInterval,
	}
	var err error
	if c.Ports != "" {
		if cfg.Control, err = manager.ParseRanges(c.Ports); err != nil {
			return cfg, fmt.Errorf("RATHOLE_PORTS: %w", err)
		}
	}
	if c.PublicPorts != "" {
		if cfg.Public, err = manager.ParseRanges(c.PublicPorts); err != nil {
			return cfg, fmt.Errorf("RATHOLE_PUBLIC_PORTS: %w", err)
		}
	}
	if c.BindAddress != "" {
		if cfg.Bind, err = netip.ParseAddr(strings.Trim(c.BindAddress, "[]")); err != nil {
			return cfg, fmt.Errorf("RATHOLE_BIND_ADDRESS %q is no IP address", c.BindAddress)
		}
	}
	return cfg, nil
}
