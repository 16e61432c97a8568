package service

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/alecthomas/kong"
)

// Commands are what both programs do. Without a word they serve.
type Commands struct {
	Serve  struct{}      `cmd:"" default:"1" help:"Run the service; this is what happens without a command."`
	Doctor DoctorCommand `cmd:"" help:"Examine this machine with the service's settings, and say what is amiss and how to mend it. Changes nothing."`
}

// DoctorCommand is the flag that doctor has beside the settings.
type DoctorCommand struct {
	Output string `short:"o" help:"Form of the findings: ${enum}." enum:"table,json" default:"table"`
}

// DoctorName is what Parse returns for doctor.
const DoctorName = "doctor"

// Parse reads the command line into cli, filling in from the environment and from a TOML file, and returns the command's
// name. It is empty if nothing is left to do (--help, --version); an error has been explained to nobody yet.
func Parse(cli any, p Program, args []string, stdout io.Writer) (command string, err error) {
	done := false
	parser, err := kong.New(cli,
		kong.Name(p.Name), kong.Description(p.About),
		kong.Vars{"name": p.Name, "version": p.Name + " " + p.Version, "uids": p.UIDs},
		kong.Writers(stdout, stdout),
		// kong would end the program in the middle of parsing --help; it goes on parsing instead, and is not listened to.
		kong.Exit(func(int) { done = true }),
		kong.Configuration(configFile, "/etc/"+p.Name+"/config.toml"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		return "", err
	}
	parsed, err := parser.Parse(args)
	switch {
	case done:
		return "", nil
	case err != nil:
		return "", fmt.Errorf("%w (see %s --help)", err, p.Name)
	}
	return parsed.Command(), nil
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
