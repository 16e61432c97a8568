package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/agent"
	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/flow"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

const gamePort = 30000

// stage is a manager and an agent with three tunnels, whose engine a test replaces: binary is what both are configured to.
type stage struct {
	manager *testkit.Manager
	agent   *testkit.Agent
	binary  string
	logs    string   // of the manager's engines
	ids     []string // in the order of an upgrade
	public  map[string]string

	openManager func(stopOnExit bool) *testkit.Manager
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{binary: filepath.Join(testkit.StateDir(t), "rathole"), ids: []string{"a", "b", "c"}, public: map[string]string{}}
	s.put(t, mustRead(t, testkit.Rathole(t)))
	state, logs, bind := testkit.StateDir(t), t.TempDir(), testkit.Address(t)
	s.logs = logs
	s.openManager = func(stop bool) *testkit.Manager {
		return testkit.StartManager(t, func(c *manager.Config) {
			c.State, c.Logs, c.Bind, c.Binary, c.StopOnExit = state, logs, bind, s.binary, stop
		})
	}
	t.Cleanup(func() { killLeft(t, state) })
	s.manager = s.openManager(true)
	s.agent = testkit.StartAgent(t, func(c *agent.Config) { c.Binary = s.binary })
	host := testkit.Address(t)
	g, err := flow.StartGame(host, gamePort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Stop)
	for _, id := range s.ids {
		spec := api.InstanceSpec{HostIP: host.String(), Services: map[string]api.ServiceSpec{
			"game": {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: gamePort},
		}}
		made, _, err := s.manager.Create(t.Context(), api.CreateInstance{ServerID: id, InstanceSpec: spec}, client.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := s.manager.ClientConfig(t.Context(), id, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.agent.Configure(t.Context(), id, cfg.Config, false); err != nil {
			t.Fatal(err)
		}
		s.public[id] = fmt.Sprintf("%s:%d", bind, made.Services["game"].PublicPort)
	}
	s.mustBeHealthy(t)
	return s
}

// killLeft ends the engines that a failed test has left without their manager.
func killLeft(t *testing.T, state string) {
	t.Helper()
	units := filepath.Join(state, "instances")
	entries, err := os.ReadDir(units)
	if err != nil || !t.Failed() {
		return
	}
	for _, e := range entries {
		pid := pids(t, units, []string{e.Name()})[e.Name()]
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.Contains(string(text), units) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func (s *stage) mustBeHealthy(t *testing.T) {
	t.Helper()
	for _, id := range s.ids {
		if i, err := s.manager.Wait(t.Context(), id, api.StatusHealthy, 20*time.Second); err != nil || i.Status != api.StatusHealthy {
			t.Fatalf("%s is not healthy: %v %+v", id, err, i.Conditions)
		}
	}
}

// put makes text the executable that both services are configured to, as a package manager does: by rename.
func (s *stage) put(t *testing.T, text []byte) {
	t.Helper()
	if err := os.WriteFile(s.binary+".new", text, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.binary+".new", s.binary); err != nil {
		t.Fatal(err)
	}
}

// putNew makes it another build that does the same.
func (s *stage) putNew(t *testing.T) {
	t.Helper()
	s.put(t, append(mustRead(t, testkit.Rathole(t)), "another build"...))
}

// putScript makes it a script that says it is rathole, and does something else when it is run.
func (s *stage) putScript(t *testing.T, run string) {
	t.Helper()
	engine := filepath.Join(testkit.StateDir(t), "rathole") // where every user can run it
	if err := os.WriteFile(engine, mustRead(t, testkit.Rathole(t)), 0o755); err != nil {
		t.Fatal(err)
	}
	s.put(t, fmt.Appendf(nil, "#!/bin/sh\nreal=%s\ncase $1 in -V|--version) exec $real $1;; esac\n%s\n", engine, run))
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// pids are the processes of the units, from the notes that the services keep of them.
func pids(t *testing.T, units string, ids []string) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, id := range ids {
		var run struct{ PID int }
		if err := json.Unmarshal(mustRead(t, filepath.Join(units, id, "run.json")), &run); err != nil {
			t.Fatal(err)
		}
		found[id] = run.PID
	}
	return found
}

func (s *stage) servers(t *testing.T) map[string]int {
	t.Helper()
	return pids(t, filepath.Join(s.manager.State, "instances"), s.ids)
}

// life tells from the log of an instance's server when its last process was up, and when its client was connected to it.
func (s *stage) life(t *testing.T, id string) (started, connected time.Time) {
	t.Helper()
	lines, _, err := rathole.ReadLog(filepath.Join(s.logs, id+".log"), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	channels := 0
	for _, text := range lines {
		switch line := rathole.ParseLine(text); line.Kind {
		case rathole.KindListening:
			started, channels = line.Time, 0
		case rathole.KindControlEstablished:
			if channels++; channels <= 2 { // one for TCP, one for UDP
				connected = line.Time
			}
		}
	}
	if started.IsZero() || channels < 2 {
		t.Fatalf("the log of %s tells of no life:\n%s", id, strings.Join(lines, "\n"))
	}
	return started, connected
}

// builds lists what is installed.
func builds(t *testing.T, state string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(state, "engine"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// service is what both typed clients have.
type service interface {
	Engine(ctx context.Context) (api.Engine, error)
	UpgradeEngine(ctx context.Context) (api.Engine, bool, error)
}

func mustBegin(t *testing.T, c service) api.Engine {
	t.Helper()
	e, begun, err := c.UpgradeEngine(t.Context())
	if err != nil || !begun || e.Upgrade == nil || e.Upgrade.To.SHA256 != e.Found.SHA256 {
		t.Fatalf("upgrade: begun %v, %v, %+v", begun, err, e.Upgrade)
	}
	return e
}

// mustEnd waits for the end of an upgrade.
func mustEnd(t *testing.T, c service) api.Engine {
	t.Helper()
	var e api.Engine
	wait.Eventually(t, 60*time.Second, func() error {
		var err error
		e, err = c.Engine(t.Context())
		if err == nil && (e.Upgrade == nil || e.Upgrade.State == api.UpgradeRunning) {
			err = fmt.Errorf("upgrade: %+v", e.Upgrade)
		}
		return err
	})
	return e
}
