package testkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// CLI is a directory with a configuration, and the command line that a user would run in it, with the provider built from
// this tree as a program of its own.
type CLI struct {
	Dir  string // of the configuration
	Bin  string // of the provider's program
	path string
	env  []string
}

// NewCLI copies the files of a directory and prepares a command line. env is added to the environment.
func NewCLI(t testing.TB, from string, env ...string) *CLI {
	t.Helper()
	return NewCLIOf(t, ".", from, env...)
}

// NewCLIOf is NewCLI with the provider that is built from a package, relative to the root of the module.
func NewCLIOf(t testing.TB, provider, from string, env ...string) *CLI {
	t.Helper()
	bin := t.TempDir()
	buildOnce(t, filepath.Join(bin, "terraform-provider-rathole"), provider)
	return newCLI(t, from, bin, fmt.Sprintf("  dev_overrides {\n    \"satishost/rathole\" = %q\n  }\n  direct {}\n", bin), env)
}

// NewInstalledCLI is NewCLI with a provider that was built before into bin, and is installed as users install it: by
// terraform init, from a directory of plugins.
func NewInstalledCLI(t testing.TB, from, bin string, env ...string) *CLI {
	t.Helper()
	plugins := t.TempDir()
	for _, registry := range []string{"registry.terraform.io", "registry.opentofu.org"} {
		dir := filepath.Join(plugins, registry, "satishost", "rathole", "0.1.0", runtime.GOOS+"_"+runtime.GOARCH)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(bin, "terraform-provider-rathole"), filepath.Join(dir, "terraform-provider-rathole")); err != nil {
			t.Fatal(err)
		}
	}
	return newCLI(t, from, bin, fmt.Sprintf("  filesystem_mirror {\n    path = %q\n  }\n", plugins), env)
}

func newCLI(t testing.TB, from, bin, installation string, env []string) *CLI {
	t.Helper()
	dir := t.TempDir()
	c := &CLI{Dir: filepath.Join(dir, "work"), Bin: bin, path: Terraform(t)}
	if err := os.CopyFS(c.Dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	rc := filepath.Join(dir, "terraform.rc")
	if err := os.WriteFile(rc, []byte("provider_installation {\n"+installation+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+rc, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "RATHOLE_TOKEN="+Token)
	c.env = append(c.env, env...)
	return c
}

// Variables writes the values of the configuration's variables.
func (c *CLI) Variables(t testing.TB, values map[string]any) {
	t.Helper()
	text, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "kit.auto.tfvars.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Command is a command of the CLI, ready to run.
func (c *CLI) Command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.path, append(args, "-no-color")...)
	cmd.Dir, cmd.Env = c.Dir, c.env
	return cmd
}

// Shell is a script, ready to run by bash where the configuration is.
func (c *CLI) Shell(t testing.TB, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = c.Dir, c.env
	return cmd
}

// Run runs a command and returns its output and exit code.
func (c *CLI) Run(t testing.TB, args ...string) (string, int) {
	t.Helper()
	out, err := c.Command(t, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", args[0], err)
	}
	if exit != nil {
		return string(out), exit.ExitCode()
	}
	return string(out), 0
}

// MustRun is Run for what must succeed.
func (c *CLI) MustRun(t testing.TB, args ...string) string {
	t.Helper()
	out, code := c.Run(t, args...)
	if code != 0 {
		t.Fatalf("terraform %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// Apply and Destroy run without questions.
func (c *CLI) Apply(t testing.TB, args ...string) string {
	t.Helper()
	return c.MustRun(t, append([]string{"apply", "-auto-approve", "-input=false"}, args...)...)
}

// Destroy is Apply's end.
func (c *CLI) Destroy(t testing.TB) string {
	t.Helper()
	return c.MustRun(t, "destroy", "-auto-approve", "-input=false")
}

// MustBeUnchanged checks that a plan has nothing to do.
func (c *CLI) MustBeUnchanged(t testing.TB) {
	t.Helper()
	if out, code := c.Run(t, "plan", "-detailed-exitcode", "-input=false"); code != 0 {
		t.Fatalf("the plan has changes (exit code %d)\n%s", code, out)
	}
}

// Outputs are the configuration's.
func (c *CLI) Outputs(t testing.TB) map[string]any {
	t.Helper()
	var found map[string]struct{ Value any }
	text, err := c.Command(t, "output", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	for name, o := range found {
		values[name] = o.Value
	}
	return values
}
