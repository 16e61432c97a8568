package manager_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/doctor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// TestLostRecordsWaitForAPerson runs two instances, one of them with a client, loses their records between two managers,
// and follows the alarm to its end.
func TestLostRecordsWaitForAPerson(t *testing.T) {
	t.Parallel()
	bind, state := testkit.Address(t), testkit.StateDir(t)
	start := func() *testkit.Manager {
		return testkit.StartManager(t, func(c *manager.Config) {
			c.Bind, c.State, c.StopOnExit = bind, state, false
			c.Control = []api.PortRange{{Start: 10000, End: 10002}}
			c.Public = []api.PortRange{{Start: 30000, End: 30003}}
		})
	}
	m, a := start(), testkit.StartAgent(t, nil)
	busy := mustCreate(t, m, one("busy", 30000, api.TCP))
	mustCreate(t, m, one("idle", 30001, api.TCP))
	cfg, err := m.ClientConfig(t.Context(), "busy", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Configure(t.Context(), "busy", cfg.Config, false); err != nil {
		t.Fatal(err)
	}
	if i, err := m.Wait(t.Context(), "busy", api.StatusHealthy, 10*time.Second); err != nil || i.Status != api.StatusHealthy {
		t.Fatalf("%v %+v", err, i)
	}
	m.Shutdown(t)
	lost := t.TempDir()
	for _, id := range []string{"busy", "idle"} {
		if err := os.Rename(filepath.Join(state, "instances", id), filepath.Join(lost, id)); err != nil {
			t.Fatal(err)
		}
	}

	m = start()
	shown, err := m.Reconciliation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range shown.Strangers {
			if t.Failed() {
				_ = syscall.Kill(s.PID, syscall.SIGKILL)
			}
		}
	})
	if !slices.Equal(names(shown), []string{"busy", "idle"}) || shown.Alarm == "" {
		t.Fatalf("shown: %+v", shown)
	}
	mustAlarm(t, m, true)

	// Their names are refused, for whatever is asked of them.
	_, _, err = m.Create(t.Context(), one("busy", 30002, api.TCP), client.CreateOptions{})
	mustBeStranger(t, err)
	_, _, err = m.Create(t.Context(), one("idle", 30002, api.TCP), client.CreateOptions{DryRun: true})
	mustBeStranger(t, err)
	_, err = m.Get(t.Context(), "busy")
	mustBeStranger(t, err)
	mustBeStranger(t, m.Delete(t.Context(), "busy"))

	// Their ports are given to nobody.
	_, _, err = m.Create(t.Context(), one("third", 30000, api.TCP), client.CreateOptions{})
	mustConflict(t, err, api.OwnerProgram, "rathole")
	third := mustCreate(t, m, one("third", 0, api.TCP))
	if third.RatholePort != 10002 || third.Services["game"].PublicPort == 30000 {
		t.Errorf("third has control port %d and public port %d", third.RatholePort, third.Services["game"].PublicPort)
	}
	if _, _, err := m.Create(t.Context(), one("fourth", 0, api.TCP), client.CreateOptions{}); !client.HasCode(err, api.CodePortsExhausted) {
		t.Errorf("a fourth control port: %v", err)
	}

	findings := manager.Doctor(t.Context(), doctor.This(), doctor.Settings{Program: "rathole-manager", State: state, Listen: m.Addr.String(), UIDs: "0"}, manager.Config{Bind: bind})
	if f := found(t, findings, "engines without record"); f.Status == doctor.OK || !strings.Contains(f.Value, "2 of 3: busy, idle") {
		t.Errorf("doctor: %+v", f)
	}

	// A look is a look; a person's word ends it.
	dry := testkit.Curl(t, "POST", m.URL+"/api/reconcile", "", auth)
	var looked, done api.Reconciliation
	if dry.Into(t, &looked); dry.Status != http.StatusOK || len(looked.Stopped) != 0 || !slices.Equal(names(looked), []string{"busy", "idle"}) {
		t.Errorf("a dry look: %d %s", dry.Status, dry.Body)
	}
	if done, err = m.AcceptStrangers(t.Context()); err != nil || !slices.Equal(done.Stopped, []string{"busy", "idle"}) || len(done.Failed)+len(done.Strangers) != 0 || done.Alarm != "" {
		t.Errorf("accept: %v %+v", err, done)
	}
	mustAlarm(t, m, false)
	if now, err := m.Get(t.Context(), "third"); err != nil || now.Status != api.StatusInactive {
		t.Errorf("the instance with a record: %v %+v", err, now)
	}
	if again := mustCreate(t, m, one("busy", 30000, api.TCP)); again.RatholePort != busy.RatholePort {
		t.Errorf("control port %d, want %d, which is the next free one", again.RatholePort, busy.RatholePort)
	}
	for _, id := range []string{"busy", "third"} {
		if err := m.Delete(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
}

func names(r api.Reconciliation) []string {
	var ids []string
	for _, s := range r.Strangers {
		ids = append(ids, s.ServerID)
	}
	return ids
}

func mustBeStranger(t *testing.T, err error) {
	t.Helper()
	if !client.HasCode(err, api.CodeStrangerRunning) || !strings.Contains(err.Error(), "accept_strangers") {
		t.Errorf("got %v, want %s", err, api.CodeStrangerRunning)
	}
}

// mustAlarm checks where the alarm is shown.
func mustAlarm(t *testing.T, m *testkit.Manager, on bool) {
	t.Helper()
	for _, path := range []string{api.PathReady, api.PathHealth} {
		answer := testkit.Curl(t, "GET", m.URL+path, "")
		if answer.Status != http.StatusOK || strings.Contains(answer.Body, "alarm") != on {
			t.Errorf("%s: %d %s", path, answer.Status, answer.Body)
		}
	}
	want := "\nrathole_alarm{component=\"manager\"} 0\n"
	if on {
		want = "\nrathole_alarm{component=\"manager\"} 1\n"
	}
	if metrics := testkit.Curl(t, "GET", m.URL+api.PathMetrics, "", auth); !strings.Contains(metrics.Body, want) {
		t.Errorf("metrics without %q", want)
	}
}

// TestQuarantinedRecordIsShown tears a record between two managers.
func TestQuarantinedRecordIsShown(t *testing.T) {
	t.Parallel()
	bind, state := testkit.Address(t), testkit.StateDir(t)
	start := func(stop bool) *testkit.Manager {
		return testkit.StartManager(t, func(c *manager.Config) { c.Bind, c.State, c.StopOnExit = bind, state, stop })
	}
	m := start(true)
	mustCreate(t, m, one("torn", 30000, api.TCP))
	mustCreate(t, m, one("whole", 30001, api.TCP))
	m.Shutdown(t)
	if err := os.WriteFile(filepath.Join(state, "instances", "torn", "record.json"), []byte(`{"schema": 1`), 0o600); err != nil {
		t.Fatal(err)
	}
	m = start(true)
	shown, err := m.Reconciliation(t.Context())
	if err != nil || len(shown.Quarantined) != 1 || shown.Quarantined[0].ServerID != "torn" || !strings.Contains(shown.Quarantined[0].Reason, "decode") {
		t.Errorf("%v %+v", err, shown)
	}
	if shown.Alarm != "" || len(shown.Strangers) != 0 {
		t.Errorf("an alarm: %+v", shown)
	}
	if metrics := testkit.Curl(t, "GET", m.URL+api.PathMetrics, "", auth); !strings.Contains(metrics.Body, "\nrathole_quarantined_records{component=\"manager\"} 1\n") {
		t.Error("the metric does not count it")
	}
	findings := manager.Doctor(t.Context(), doctor.This(), doctor.Settings{State: state, Listen: m.Addr.String(), UIDs: "0"}, manager.Config{Bind: bind})
	if f := found(t, findings, "records"); f.Status != doctor.Fail || !strings.Contains(f.Value, "1 of 2 cannot be read: torn") {
		t.Errorf("doctor: %+v", f)
	}
}
