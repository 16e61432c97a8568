package service

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/BurntSushi/toml"
	"github.com/alecthomas/kong"

	"github.com/satishost/terraform-provider-rathole/internal/command"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// Commands are what both programs do. Without a word they serve.
type Commands struct {
	Serve  struct{}      `cmd:"" default:"1" help:"Run the service; this is what happens without a command."`
	Doctor DoctorCommand `cmd:"" help:"Examine this machine with the service's settings, and say what is amiss and how to mend it. Changes nothing."`
	command.Commands
}

// DoctorCommand is the flag that doctor has beside the settings.
type DoctorCommand struct {
	Output string `short:"o" help:"Form of the findings: ${enum}." enum:"table,json" default:"table"`
}

// The commands that do not ask a running service: their names as a parsed command line gives them.
const (
	ServeName  = "serve"
	DoctorName = "doctor"
)

// Parse reads the command line into cli, filling in from the environment and from a TOML file. The result is nil if nothing
// is left to do (--help, --version); an error has been explained to nobody yet.
func Parse(cli any, p Program, args []string, stdout io.Writer) (*kong.Context, error) {
	done := false
	parser, err := kong.New(cli,
		kong.Name(p.Name), kong.Description(p.About+"\n\n"+command.ExitCodes),
		kong.Vars{
			"name": p.Name, "version": p.Name + " " + p.Version, "uids": p.UIDs,
			"unit": p.Kind.Unit, "units": p.Kind.Units, "statuses": p.Kind.Statuses,
		},
		kong.Writers(stdout, stdout),
		// kong would end the program in the middle of parsing --help; it goes on parsing instead, and is not listened to.
		kong.Exit(func(int) { done = true }),
		kong.Configuration(configFile, "/etc/"+p.Name+"/config.toml"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(args)
	switch {
	case done:
		return nil, nil //nolint:nilnil // nothing is left to do, as the doc says
	case err != nil:
		return nil, &command.Error{Code: command.ExitUsage, Err: fmt.Errorf("%w (see %s --help)", err, p.Name)}
	}
	return parsed, nil
}

// Ask runs a command that asks the running service, whose settings these are.
func (f Flags) Ask(ctx context.Context, parsed *kong.Context, p Program, listen string, stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	state, _, err := f.directories(p.Name)
	if err != nil {
		return err
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	return parsed.Run(&command.Env{
		Program: p.Name, Kind: p.Kind, Stdout: stdout, Stderr: stderr,
		Place: command.Place{
			Listen: listen, TLSCert: f.TLSCert, State: state,
			Token: secret.New(strings.TrimSpace(os.Getenv("RATHOLE_TOKEN"))), TokenFile: f.TokenFile, NoAuth: f.NoAuth,
		},
	})
}

// Exit ends a program: it prints the error, if there is one, and exits with its code.
func Exit(p Program, err error) {
	code := command.ExitCode(err)
	if code != 0 {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
	}
	if code == command.ExitUsage && isWorker() {
		code = exitRefused // to an init, a Go program that ends with 2 has crashed
	}
	os.Exit(code)
}

// file answers flags from a TOML file whose keys are the flags' long names.
type file map[string]any

func configFile(r io.Reader) (kong.Resolver, error) {
	keys := file{}
	if _, err := toml.NewDecoder(r).Decode(&keys); err != nil {
		return nil, fmt.Errorf("read the config file: %w", err)
	}
	return keys, nil
}

// Resolve implements kong.Resolver.
func (f file) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	v, ok := f[flag.Name]
	if !ok {
		return nil, nil //nolint:nilnil // kong's word for "not set"
	}
	return fmt.Sprint(v), nil
}

// Validate implements kong.Resolver: a key that is no flag is a setting that would silently not be made.
func (f file) Validate(app *kong.Application) error {
	known := map[string]bool{}
	for _, group := range app.AllFlags(false) {
		for _, flag := range group {
			known[flag.Name] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if !known[key] {
			return fmt.Errorf("the config file has an unknown key %q; known are %s", key, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	return nil
}
