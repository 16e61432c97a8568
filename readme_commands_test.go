package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
)

const gameName = "the game of the README"

// TestCommands types what README.md tells people to type, from the build to the removal: a shell for each section, in the
// root of a copy of this module. VPS and host are loopback addresses; the placeholders, and the directories of a real
// machine, are replaced.
func TestCommands(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	checks := map[string]func(*testing.T){
		"Step 4: Apply from the machine that has Terraform": func(t *testing.T) { m.mustPlay(t) },
		"Take it away": func(t *testing.T) {
			if left := running(t, m.dir+"/var/lib"); len(left) != 0 {
				t.Errorf("engines are left: %v", left)
			}
		},
		"The HTTP APIs": func(t *testing.T) {
			m.mustPlay(t)
			m.join(t)
		},
		"Restart and upgrade": func(t *testing.T) {
			if got, err := m.player.Ask("still here"); err != nil || got != "still here" {
				t.Errorf("a player who was there before gets %q (%v)", got, err)
			}
			m.mustPlay(t)
		},
		"Remove everything": func(t *testing.T) {
			if left := running(t, m.dir); len(left) != 0 {
				t.Errorf("left running: %v", left)
			}
		},
	}
	for _, s := range readme(t) {
		var script string
		for _, b := range s.Blocks {
			if b.Language == "sh" && !strings.HasPrefix(b.Text, "make demo") {
				script += b.Text
			}
		}
		if script == "" {
			continue
		}
		m.run(t, s.Title, script)
		if check := checks[s.Title]; check != nil {
			check(t)
			delete(checks, s.Title)
		}
		if t.Failed() {
			return
		}
	}
	for title := range checks {
		t.Errorf("README.md has no commands under %q", title)
	}
}

// machine stands for the VPS, a host, and the machine that has Terraform.
type machine struct {
	dir       string // everything lies below it
	vps, host netip.Addr
	port      int // the game's first; it has two
	env       []string
	values    *strings.Replacer // of the placeholders
	player    *game.Player
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	for _, program := range []string{"bash", "curl", "flock", "make"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("README.md uses %s: %v", program, err)
		}
	}
	m := &machine{dir: testkit.StateDir(t), vps: testkit.Address(t), host: testkit.Address(t)}
	t.Cleanup(func() { m.clean(t) })
	for _, dir := range []string{"usr/local/bin", "var/lib", "home"} {
		if err := os.MkdirAll(filepath.Join(m.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.copyModule(t)
	// curl fails where a server answers an error; people see the answer instead.
	if err := os.WriteFile(filepath.Join(m.dir, "home", ".curlrc"), []byte("fail\nsilent\nshow-error\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	terraform := testkit.Terraform(t)
	if err := os.Symlink(terraform, filepath.Join(m.dir, "usr/local/bin/terraform")); err != nil {
		t.Fatal(err)
	}
	registry := "registry.terraform.io"
	if filepath.Base(terraform) == "tofu" {
		registry = "registry.opentofu.org"
	}
	m.port = m.free(t, 30000, 2)
	testkitGame, err := game.Start(gameName, m.host, m.port, m.port+1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(testkitGame.Stop)
	managerAPI, agentAPI := fmt.Sprintf("%s:%d", m.vps, m.free(t, 7001, 1)), fmt.Sprintf("%s:%d", m.host, m.free(t, 8081, 1))
	m.values = strings.NewReplacer(
		"your-public-vps-ip:7001", managerAPI, "RATHOLE_LISTEN=:7001", "RATHOLE_LISTEN="+managerAPI,
		"host-node:8081", agentAPI, "RATHOLE_LISTEN=:8081", "RATHOLE_LISTEN="+agentAPI,
		"your-public-vps-ip", m.vps.String(), "host-node-ip", m.host.String(), "your-secure-api-token", testkit.Token,
		"30000", strconv.Itoa(m.port), "30001", strconv.Itoa(m.port+1),
		"/usr/local/", m.dir+"/usr/local/", "/var/lib/", m.dir+"/var/lib/", "registry.terraform.io", registry,
	)
	m.env = append(goEnv(t),
		"PATH="+m.dir+"/usr/local/bin:"+os.Getenv("PATH"), "HOME="+m.dir+"/home", "RATHOLE_BINARY="+testkit.Rathole(t),
		"RATHOLE_BIND_ADDRESS="+m.vps.String(), // a person's VPS has addresses of its own
		"CHECKPOINT_DISABLE=1", "TF_CLI_ARGS_apply=-auto-approve", "TF_CLI_ARGS_destroy=-auto-approve",
		"TF_VAR_host_ip="+m.host.String(), "TF_VAR_game_port="+strconv.Itoa(m.port),
	)
	return m
}

// goEnv lets go find its caches with another HOME.
func goEnv(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOPATH", "GOFLAGS", "GOPROXY", "GOSUMDB", "GOTOOLCHAIN").Output()
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]string
	if err := json.Unmarshal(out, &values); err != nil {
		t.Fatal(err)
	}
	var env []string
	for name, value := range values {
		env = append(env, name+"="+value)
	}
	return env
}

// copyModule copies what git would, so that nothing is written into the tree.
func (m *machine) copyModule(t *testing.T) {
	t.Helper()
	to := filepath.Join(m.dir, "module")
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", ".terraform", "bin", "dist"}, d.Name()):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, path), 0o755)
		case !d.Type().IsRegular() || strings.HasSuffix(path, ".tfstate") || strings.HasSuffix(path, ".tfvars"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, path), text, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// free finds the first of n neighbouring ports that nobody has on both addresses.
func (m *machine) free(t *testing.T, from, n int) int {
	t.Helper()
	for port := from; port < from+1000; port++ {
		taken := false
		for p := port; p < port+n; p++ {
			for _, host := range []netip.Addr{m.vps, m.host} {
				addr := netip.AddrPortFrom(host, uint16(p))
				taken = taken || sockets.Bindable(api.TCP, addr) != nil || sockets.Bindable(api.UDP, addr) != nil
			}
		}
		if !taken {
			return port
		}
	}
	t.Fatalf("no free ports above %d", from)
	return 0
}

// run gives a section's commands to a shell.
func (m *machine) run(t *testing.T, title, script string) {
	t.Helper()
	script = m.values.Replace(script)
	for _, place := range []string{"/usr/", "/var/", "/etc/"} {
		if strings.Count(script, " "+place)+strings.Count(script, "="+place) > 0 {
			t.Fatalf("%s would touch this machine's %s:\n%s", title, place, script)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env, cmd.WaitDelay = filepath.Join(m.dir, "module"), m.env, 5*time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s\n%s\n%s", title, err, script, out.String(), m.logs())
	}
	t.Logf("%s: %s", title, time.Since(begin).Round(time.Millisecond))
}

func (m *machine) logs() string {
	var all string
	for _, name := range []string{"manager.log", "agent.log"} {
		text, err := os.ReadFile(filepath.Join(m.dir, "module", name))
		if err == nil {
			all += name + ":\n" + string(text)
		}
	}
	return all
}

// mustPlay checks that players reach the game at the VPS.
func (m *machine) mustPlay(t *testing.T) {
	t.Helper()
	for _, port := range []int{m.port, m.port + 1} {
		testkit.MustReach(t, fmt.Sprintf("%s:%d", m.vps, port), gameName, api.TCP, api.UDP)
	}
}

// join has a player who stays.
func (m *machine) join(t *testing.T) {
	t.Helper()
	var err error
	m.player, err = game.Join(t.Context(), api.TCP, fmt.Sprintf("%s:%d", m.vps, m.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.player.Leave() })
	if _, err := m.player.Ask("status"); err != nil {
		t.Fatal(err)
	}
}

// running lists the processes whose program lies below dir.
func running(t *testing.T, dir string) map[int]string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]string{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		program, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
		if err == nil && strings.HasPrefix(program, dir+"/") {
			found[pid] = program
		}
	}
	return found
}

// clean kills what a failed run left; all of it was installed below the test's own directory. Services go first: they would
// start their engines again.
func (m *machine) clean(t *testing.T) {
	t.Helper()
	for _, dir := range []string{m.dir + "/usr/local/bin", m.dir} {
		for pid := range running(t, dir) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Error(err)
			}
		}
	}
}
