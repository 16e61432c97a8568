package agent_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/satishost/terraform-provider-rathole/agent"
	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/doctor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
)

// TestLostClientWaitsForAPerson loses a client's record between two agents: its name is refused, also where stopping it
// would be said to be done, until a person has it stopped.
func TestLostClientWaitsForAPerson(t *testing.T) {
	t.Parallel()
	const auth = "Authorization: Bearer " + testkit.Token
	state, text := testkit.StateDir(t), config("127.0.0.1:10001", "127.0.0.1:30000")
	start := func() *testkit.Agent {
		return testkit.StartAgent(t, func(c *agent.Config) { c.State, c.StopOnExit = state, false })
	}
	a := start()
	if _, err := a.Configure(t.Context(), "lost", text, false); err != nil {
		t.Fatal(err)
	}
	a.Shutdown(t)
	if err := os.Rename(filepath.Join(state, "clients", "lost"), filepath.Join(t.TempDir(), "lost")); err != nil {
		t.Fatal(err)
	}
	a = start()
	shown, err := a.Reconciliation(t.Context())
	if err != nil || len(shown.Strangers) != 1 || shown.Strangers[0].ServerID != "lost" || shown.Alarm == "" {
		t.Fatalf("%v %+v", err, shown)
	}
	t.Cleanup(func() {
		if t.Failed() {
			_ = syscall.Kill(shown.Strangers[0].PID, syscall.SIGKILL)
		}
	})
	if h, err := a.Health(t.Context()); err != nil || h.Alarm != shown.Alarm {
		t.Errorf("health: %v %+v", err, h)
	}
	_, err = a.Configure(t.Context(), "lost", text, false)
	mustRefuse(t, err, api.CodeStrangerRunning, "process", "accept_strangers")
	_, err = a.Stop(t.Context(), "lost")
	mustRefuse(t, err, api.CodeStrangerRunning)
	findings := agent.Doctor(t.Context(), doctor.This(), doctor.Settings{Program: "rathole-agent", State: state, Listen: a.Addr.String(), UIDs: "0"}, agent.Config{})
	if f := found(t, findings, "engines without record"); f.Status != doctor.Fail || !strings.Contains(f.Mend, "rathole-agent reconcile --accept-strangers") {
		t.Errorf("doctor: %+v", f)
	}
	if metrics := testkit.Curl(t, "GET", a.URL+api.PathMetrics, "", auth); metrics.Status != http.StatusOK || !strings.Contains(metrics.Body, "\nrathole_alarm{component=\"agent\"} 1\n") {
		t.Error("no alarm among the metrics")
	}
	if done, err := a.AcceptStrangers(t.Context()); err != nil || len(done.Stopped) != 1 || done.Alarm != "" {
		t.Errorf("accept: %v %+v", err, done)
	}
	if _, err := a.Configure(t.Context(), "lost", text, false); err != nil {
		t.Error(err)
	}
	if _, err := a.Stop(t.Context(), "lost"); err != nil {
		t.Error(err)
	}
}
