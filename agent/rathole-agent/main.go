// Command rathole-agent runs rathole clients on a game host.
package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"

	"github.com/alecthomas/kong"

	"github.com/satishost/terraform-provider-rathole/agent"
	"github.com/satishost/terraform-provider-rathole/internal/command"
	"github.com/satishost/terraform-provider-rathole/internal/doctor"
	"github.com/satishost/terraform-provider-rathole/internal/service"
)

// version is set by the linker.
var version = "dev"

func main() {
	service.Exit(program(), run(context.Background(), os.Args[1:], os.Stdout, os.Stderr, nil))
}

func program() service.Program {
	return service.Program{
		Name: "rathole-agent", Version: version, UIDs: "220000:10001", Kind: command.Agent(),
		About: "Runs one isolated rathole client per game server, from the config that it is given.",
	}
}

type cli struct {
	service.Flags
	service.Commands
	Config         kong.ConfigFlag  `help:"TOML file with any of these settings, by their long names (default /etc/rathole-agent/config.toml, if it is there)." placeholder:"FILE"`
	Version        kong.VersionFlag `help:"Print the version."`
	Listen         string           `help:"Address of the API." default:":8081" env:"RATHOLE_LISTEN"`
	ManagerHost    []string         `help:"Hosts that clients may dial, by name or address (default: any, with a warning)." env:"RATHOLE_INSTANCE_MANAGER_HOST" placeholder:"HOST,…"`
	ManagerPort    int              `help:"Port of the managers' APIs; every 15 s each host of --manager-host is asked whether it answers, for the metrics (default: not asked)." env:"RATHOLE_INSTANCE_MANAGER_PORT" placeholder:"PORT"`
	AllowedTargets []string         `help:"Where clients may forward to beside this machine: addresses, networks, names." env:"RATHOLE_ALLOWED_TARGETS" placeholder:"172.18.0.0/16,…"`
	RatholeBinary  string           `name:"client-binary" help:"The rathole executable (default: the one in PATH)." env:"RATHOLE_CLIENT_BINARY" placeholder:"FILE"`
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
	cfg := c.config(service.Setup{State: settings.State, Logs: settings.Logs, Log: slog.New(slog.DiscardHandler)})
	return doctor.Report(stdout, c.Doctor.Output, agent.Doctor(ctx, doctor.This(), settings, cfg))
}

func (c cli) build(s service.Setup) (service.Service, error) {
	return agent.New(c.config(s))
}

func (c cli) config(s service.Setup) agent.Config {
	return agent.Config{
		Managers: c.ManagerHost, ManagerPort: c.ManagerPort, Targets: c.AllowedTargets, State: s.State, Logs: s.Logs, Binary: c.RatholeBinary,
		Token: s.Token, UIDs: s.UIDs, StopOnExit: s.StopOnExit, Version: version, OmitUnitMetrics: s.OmitUnitMetrics, Log: s.Log,
	}
}
