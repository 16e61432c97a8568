package manager_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/agent"
	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// connect hands an instance's config to an agent and waits until it is healthy.
func connect(t *testing.T, m *testkit.Manager, a *testkit.Agent, id string) api.Instance {
	t.Helper()
	cfg, err := m.ClientConfig(t.Context(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Configure(t.Context(), id, cfg.Config, false); err != nil {
		t.Fatal(err)
	}
	up, err := m.Wait(t.Context(), id, api.StatusHealthy, 10*time.Second)
	if err != nil || up.Status != api.StatusHealthy {
		t.Fatalf("%s does not become healthy: %v, %+v", id, err, up.Conditions)
	}
	return up
}

func TestUpdateOfOneServiceLeavesTheOthersFlowsAlone(t *testing.T) {
	t.Parallel()
	m, a := testkit.StartManager(t, nil), testkit.StartAgent(t, nil)
	server := testkit.StartGame(t, "satisfactory", 30000, 30001, 30005)
	spec := api.InstanceSpec{GamePort: 30000, BeaconPort: 30001, HostIP: server.Host.String()}
	before := mustCreate(t, m, api.CreateInstance{ServerID: "one", InstanceSpec: spec})
	connect(t, m, a, "one")
	player, err := game.Join(t.Context(), api.TCP, fmt.Sprintf("%s:30000", m.Bind))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = player.Leave() }()
	if got, err := player.Ask("status"); err != nil || got != "satisfactory" {
		t.Fatalf("%q %v", got, err)
	}

	spec.BeaconPort = 30005
	after, err := m.Update(t.Context(), "one", api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if after.Revision != before.Revision+1 || after.UID != before.UID || after.RatholePort != before.RatholePort || after.ClientConfigSHA256 == before.ClientConfigSHA256 {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	connect(t, m, a, "one")
	testkit.MustReach(t, fmt.Sprintf("%s:30005", m.Bind), "satisfactory", api.TCP, api.UDP)
	if got, err := player.Ask("still there?"); err != nil || got != "still there?" {
		t.Errorf("the flow on the other service broke: %q %v", got, err)
	}
	if _, err := game.Ask(t.Context(), api.TCP, fmt.Sprintf("%s:30001", m.Bind), "status"); err == nil {
		t.Error("the old beacon port still answers")
	}
	// The old port is free for others at once.
	mustCreate(t, m, one("two", 30001, api.TCP, api.UDP))

	again, err := m.Update(t.Context(), "one", api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{IfMatch: client.ETag(after)})
	if err != nil || again.Revision != after.Revision {
		t.Errorf("the same specification again: revision %d to %d, %v", after.Revision, again.Revision, err)
	}
	_, err = m.Update(t.Context(), "one", api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{IfMatch: client.ETag(before)})
	if !client.HasCode(err, api.CodeRevisionMismatch) {
		t.Errorf("a stale If-Match: %v", err)
	}
	if _, err = m.Update(t.Context(), "none", api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{}); !client.IsNotFound(err) {
		t.Errorf("update of nothing: %v", err)
	}
	spec.BeaconPort = 30001
	_, err = m.Update(t.Context(), "one", api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{})
	mustConflict(t, err, api.OwnerInstance, "two")
	if now, err := m.Get(t.Context(), "one"); err != nil || now.Revision != after.Revision || now.BeaconPort != 30005 {
		t.Errorf("after the refused update: %+v %v", now, err)
	}
}

func TestDisabledKeepsPortsAndSecrets(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	before := mustCreate(t, m, one("one", 30000, api.TCP))
	spec, no := one("one", 30000, api.TCP).InstanceSpec, false
	spec.Enabled = &no
	off, err := m.Update(t.Context(), "one", api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{})
	if err != nil || off.Status != api.StatusDisabled || off.RatholePort != before.RatholePort || off.ClientConfigSHA256 != before.ClientConfigSHA256 {
		t.Fatalf("disable: %v %+v", err, off)
	}
	_, _, err = m.Create(t.Context(), one("two", 30000, api.TCP), client.CreateOptions{})
	mustConflict(t, err, api.OwnerInstance, "one")
	if _, err := m.Restart(t.Context(), "one"); !client.HasCode(err, api.CodeInvalidRequest) {
		t.Errorf("restart while disabled: %v", err)
	}
	spec.Enabled = nil
	on, err := m.Update(t.Context(), "one", api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{})
	if err != nil || on.Status != api.StatusInactive || on.ClientConfigSHA256 != before.ClientConfigSHA256 {
		t.Errorf("enable: %v %+v", err, on)
	}
}

func TestNoiseTransport(t *testing.T) {
	t.Parallel()
	m, a := testkit.StartManager(t, nil), testkit.StartAgent(t, nil)
	server := testkit.StartGame(t, "quiet", 30000)
	spec := api.InstanceSpec{GamePort: 30000, HostIP: server.Host.String(), Transport: api.TransportNoise}
	mustCreate(t, m, api.CreateInstance{ServerID: "one", InstanceSpec: spec})
	connect(t, m, a, "one")
	testkit.MustReach(t, fmt.Sprintf("%s:30000", m.Bind), "quiet", api.TCP, api.UDP)
	wait.Eventually(t, 5*time.Second, func() error {
		c, err := a.Get(t.Context(), "one")
		if err == nil && c.Status != api.StatusHealthy {
			err = fmt.Errorf("client: %+v", c.Conditions)
		}
		return err
	})
	// Back to plain TCP: the server restarts on its control port, the client follows its new config.
	spec.Transport = api.TransportTCP
	if _, err := m.Update(t.Context(), "one", api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	connect(t, m, a, "one")
	testkit.MustReach(t, fmt.Sprintf("%s:30000", m.Bind), "quiet", api.TCP, api.UDP)
}

func TestRestartAndLogs(t *testing.T) {
	t.Parallel()
	m, a := testkit.StartManager(t, nil), testkit.StartAgent(t, nil)
	mustCreate(t, m, one("one", 30000, api.TCP))
	connect(t, m, a, "one")
	first, err := m.Restart(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	second, err := m.Restart(t.Context(), "one")
	if err != nil || first.PID == second.PID {
		t.Fatalf("restart: pid %d and %d, %v", first.PID, second.PID, err)
	}
	logs, err := m.Logs(t.Context(), "one", client.LogQuery{Lines: 5})
	if err != nil || len(logs.Lines) == 0 || len(logs.Lines) > 5 || !strings.Contains(strings.Join(logs.Lines, "\n"), "Listening at") {
		t.Errorf("logs: %v %v", logs, err)
	}
	if up, err := m.Wait(t.Context(), "one", api.StatusHealthy, 10*time.Second); err != nil || up.Status != api.StatusHealthy {
		t.Errorf("after the restarts: %v %+v", err, up.Conditions)
	}
}

// TestServiceRestartTouchesNoTunnel replaces manager and agent under a player who keeps talking.
func TestServiceRestartTouchesNoTunnel(t *testing.T) {
	t.Parallel()
	state, logs, bind := testkit.StateDir(t), t.TempDir(), testkit.Address(t)
	agentState := testkit.StateDir(t)
	openManager := func(stop bool) *testkit.Manager {
		return testkit.StartManager(t, func(c *manager.Config) { c.State, c.Logs, c.Bind, c.StopOnExit = state, logs, bind, stop })
	}
	openAgent := func(stop bool) *testkit.Agent {
		return testkit.StartAgent(t, func(c *agent.Config) { c.State, c.StopOnExit = agentState, stop })
	}
	m, a := openManager(false), openAgent(false)
	server := testkit.StartGame(t, "lasting", 30000)
	made := mustCreate(t, m, api.CreateInstance{ServerID: "one", InstanceSpec: api.InstanceSpec{GamePort: 30000, HostIP: server.Host.String()}})
	connect(t, m, a, "one")
	tcp, err := game.Join(t.Context(), api.TCP, fmt.Sprintf("%s:30000", bind))
	if err != nil {
		t.Fatal(err)
	}
	udp, err := game.Join(t.Context(), api.UDP, fmt.Sprintf("%s:30000", bind))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(message string) {
		t.Helper()
		for _, p := range []*game.Player{tcp, udp} {
			if got, err := p.Ask(message); err != nil || got != message {
				t.Errorf("%s: %q %v", message, got, err)
			}
		}
	}
	ask("before")
	m.Shutdown(t)
	a.Shutdown(t)
	ask("while nobody supervises")
	m, a = openManager(true), openAgent(true)
	ask("after")
	now, err := m.Wait(t.Context(), "one", api.StatusHealthy, 5*time.Second)
	if err != nil || now.UID != made.UID || now.Status != api.StatusHealthy {
		t.Errorf("after the restart: %v %+v", err, now)
	}
	if c, err := a.Get(t.Context(), "one"); err != nil || c.Status != api.StatusHealthy {
		t.Errorf("client after the restart: %v %+v", err, c)
	}
}

// TestStrangersAreNoClients connects to the control port and stays: neither silence nor garbage makes a client.
func TestStrangersAreNoClients(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	i := mustCreate(t, m, one("one", 30000, api.TCP))
	for _, said := range []string{"", strings.Repeat("x", 69), strings.Repeat("\x00", 37)} {
		stranger, err := game.Join(t.Context(), api.TCP, fmt.Sprintf("%s:%d", m.Bind, i.RatholePort))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stranger.Leave() }()
		if err := stranger.Say(said); err != nil {
			t.Fatal(err)
		}
	}
	now, err := m.Wait(t.Context(), "one", api.StatusHealthy, 500*time.Millisecond)
	if err != nil || now.Status != api.StatusInactive {
		t.Errorf("with strangers on the control port: %v, %s %+v", err, now.Status, now.Conditions)
	}
}

// TestSecretsStayInside searches everything that others may read for the API token and the services' tokens.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	logs := t.TempDir()
	var service strings.Builder
	m := testkit.StartManager(t, func(c *manager.Config) { c.Logs, c.Log = logs, testkit.LogTo(&service) })
	a := testkit.StartAgent(t, nil)
	mustCreate(t, m, one("one", 30000, api.TCP))
	cfg, err := m.ClientConfig(t.Context(), "one", "")
	if err != nil {
		t.Fatal(err)
	}
	connect(t, m, a, "one")
	if _, err := m.Restart(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	_, _, err = m.Create(t.Context(), one("one", 30001, api.TCP), client.CreateOptions{})
	if err == nil {
		t.Fatal("no conflict")
	}
	_, err = m.Restart(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ := strings.Cut(cfg.Config, `token = "`)
	token, _, _ = strings.Cut(token, `"`)
	if len(token) < 40 {
		t.Fatalf("no service token of 256 bits in %q", cfg.Config)
	}
	m.Shutdown(t)
	places := map[string]string{"service log": service.String()}
	for _, path := range []string{filepath.Join(logs, "one.log"), filepath.Join(logs, "one.err")} {
		text, err := os.ReadFile(path)
		unwritten := strings.HasSuffix(path, ".err") && errors.Is(err, fs.ErrNotExist) // by an engine that had nothing to complain of
		if err != nil && !unwritten {
			t.Fatal(err)
		}
		places[path] = string(text)
	}
	for name, text := range places {
		if strings.Contains(text, testkit.Token) || strings.Contains(text, token) {
			t.Errorf("%s tells a token:\n%s", name, text)
		}
	}
}

// TestEnginesShowNothing reads what /proc shows of a running engine.
func TestEnginesShowNothing(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	mustCreate(t, m, one("one", 30000, api.TCP))
	r, err := m.Restart(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", r.PID, file))
		if err != nil {
			t.Fatal(err)
		}
		if len(text) == 0 || strings.Contains(string(text), testkit.Token) || strings.Contains(string(text), "RATHOLE_TOKEN") {
			t.Errorf("%s: %q", file, text)
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.PID))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", r.PID, fd.Name()))
		if err == nil && strings.HasSuffix(target, "/lock") {
			t.Errorf("the engine holds the service's own lock: %s", target)
		}
	}
	for _, name := range []string{"record.json", "run.lock", "conf/server.toml"} {
		info, err := os.Stat(filepath.Join(m.State, "instances", "one", name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	if got := testkit.Curl(t, "GET", m.URL+"/api/instances/one?token="+testkit.Token, ""); got.Status != http.StatusOK || strings.Contains(got.Body, "token") {
		t.Errorf("the instance as callers see it: %s", got.Body)
	}
}
