package engine_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/flow"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// TestUpgradeTunnelByTunnel replaces the engine under three tunnels: each has its client back before the next is touched.
func TestUpgradeTunnelByTunnel(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	before, e0 := s.servers(t), mustEngine(t, s.manager)
	if e0.Upgrade != nil || len(e0.Running) != 1 || !slices.Equal(e0.Running[0].Units, s.ids) || *e0.Current != e0.Running[0].EngineBuild || e0.Found.SHA256 != e0.Current.SHA256 {
		t.Fatalf("before: %+v", e0)
	}
	if e, begun, err := s.manager.UpgradeEngine(t.Context()); err != nil || begun || e.Upgrade.State != api.UpgradeDone || len(e.Upgrade.Upgraded) != 0 {
		t.Fatalf("with nothing new: begun %v, %v, %+v", begun, err, e.Upgrade)
	}
	s.putNew(t)
	mustBegin(t, s.manager)
	if _, _, err := s.manager.UpgradeEngine(t.Context()); !client.HasCode(err, api.CodeUpgradeInProgress) {
		t.Errorf("a second upgrade at the same time: %v", err)
	}
	e := mustEnd(t, s.manager)
	if e.Upgrade.State != api.UpgradeDone || !slices.Equal(e.Upgrade.Upgraded, s.ids) || len(e.Upgrade.Remaining) != 0 || e.Upgrade.EndedAt == nil {
		t.Fatalf("upgrade: %+v %+v", e.Upgrade, e.Upgrade.Failed)
	}
	for i, id := range s.ids[1:] {
		_, connected := s.life(t, s.ids[i])
		if started, _ := s.life(t, id); !connected.Before(started) {
			t.Errorf("%s was connected at %s, and its successor started at %s", s.ids[i], connected, started)
		}
	}
	if e.Current.SHA256 != e.Found.SHA256 || e.Current.SHA256 == e0.Current.SHA256 || len(e.Running) != 1 || e.Running[0].SHA256 != e.Current.SHA256 {
		t.Errorf("after: %+v", e)
	}
	for id, pid := range s.servers(t) {
		if pid == before[id] {
			t.Errorf("%s still is process %d", id, pid)
		}
	}
	want := rathole.Binary{Version: rathole.Version, SHA256: e.Current.SHA256}.Name()
	if got := builds(t, s.manager.State); !slices.Equal(got, []string{want}) {
		t.Errorf("installed: %v, want %s alone", got, want)
	}
	mustTell(t, s.manager, "a engine_upgrade", "b engine_upgrade", "c engine_upgrade")
	s.mustBeHealthy(t)
	if _, begun, err := s.manager.UpgradeEngine(t.Context()); err != nil || begun {
		t.Errorf("again: begun %v, %v", begun, err)
	}

	// The agent's half, in the same way.
	clients := pids(t, filepath.Join(s.agent.State, "clients"), s.ids)
	mustBegin(t, s.agent)
	if e := mustEnd(t, s.agent); e.Upgrade.State != api.UpgradeDone || !slices.Equal(e.Upgrade.Upgraded, s.ids) || e.Current.SHA256 != e.Found.SHA256 {
		t.Errorf("upgrade of the clients: %+v %+v", e.Upgrade, e.Upgrade.Failed)
	}
	for id, pid := range pids(t, filepath.Join(s.agent.State, "clients"), s.ids) {
		if pid == clients[id] {
			t.Errorf("client %s still is process %d", id, pid)
		}
	}
	s.mustBeHealthy(t)
}

func mustEngine(t *testing.T, c service) api.Engine {
	t.Helper()
	e, err := c.Engine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestUpgradeStopsAtTheFirst gives the services engines that do not serve: the first tunnel has its old one back, and the
// players of the others notice nothing.
func TestUpgradeStopsAtTheFirst(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ run, says string }{
		"it exits": {`echo "no such luck" >&2; exit 1`, "no such luck"},
		// It listens and is ready, but knows no token: clients are refused.
		"it lets nobody in": {`d=$(mktemp -d); sed 's/^\( *token *= *"\)/\1wrong/' "$2" >$d/server.toml; exec $real -s $d/server.toml`, "ClientConnected is not what it was"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			before, old := s.servers(t), mustEngine(t, s.manager).Current
			s.putScript(t, tc.run)
			checker := flow.Start(t.Context(), flow.Config{Targets: []string{s.public["b"], s.public["c"]}, TCP: 2, UDP: 1})
			mustBegin(t, s.manager)
			e := mustEnd(t, s.manager)
			report := checker.Stop()
			if !report.Clean() || report.Flows != 6 {
				t.Errorf("the players of the other tunnels noticed: %s", report)
			}
			up := e.Upgrade
			if up.State != api.UpgradeFailed || len(up.Upgraded) != 0 || !slices.Equal(up.Remaining, []string{"b", "c"}) || up.Failed == nil {
				t.Fatalf("upgrade: %+v %+v", up, up.Failed)
			}
			if f := up.Failed; f.ServerID != "a" || !strings.Contains(f.Message, tc.says) || !f.RolledBack || f.Rollback != "" {
				t.Errorf("failed: %+v", f)
			}
			if *e.Current != *old || len(e.Running) != 1 || e.Running[0].EngineBuild != *old || !slices.Equal(e.Running[0].Units, s.ids) {
				t.Errorf("after: %+v", e)
			}
			after := s.servers(t)
			if after["a"] == before["a"] || after["b"] != before["b"] || after["c"] != before["c"] {
				t.Errorf("processes %v, before %v", after, before)
			}
			if got := builds(t, s.manager.State); len(got) != 1 {
				t.Errorf("installed: %v", got)
			}
			mustTell(t, s.manager, "a engine_upgrade", "a engine_rollback")
			s.mustBeHealthy(t)
		})
	}
}

// TestUpgradedTunnelsStayWhenALaterOneFails has an engine that serves the first tunnel and not the second.
func TestUpgradedTunnelsStayWhenALaterOneFails(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	before, old := s.servers(t), mustEngine(t, s.manager).Current
	s.putScript(t, `case $2 in */b/*) exit 1;; esac; exec $real "$@"`)
	mustBegin(t, s.manager)
	e := mustEnd(t, s.manager)
	up := e.Upgrade
	if up.State != api.UpgradeFailed || !slices.Equal(up.Upgraded, []string{"a"}) || !slices.Equal(up.Remaining, []string{"c"}) || up.Failed == nil || up.Failed.ServerID != "b" || !up.Failed.RolledBack {
		t.Errorf("upgrade: %+v %+v", up, up.Failed)
	}
	if *e.Current != *old || len(e.Running) != 2 {
		t.Errorf("after: %+v", e)
	}
	for _, use := range e.Running {
		if want := map[bool]string{true: "b c", false: "a"}[use.EngineBuild == *old]; strings.Join(use.Units, " ") != want {
			t.Errorf("%s runs %v, want %s", use.Path, use.Units, want)
		}
	}
	if after := s.servers(t); after["a"] == before["a"] || after["b"] == before["b"] || after["c"] != before["c"] {
		t.Errorf("processes %v, before %v", after, before)
	}
	s.mustBeHealthy(t)
}

// TestUpgradeGoesOnAfterTheEndOfTheService ends the manager in the middle of an upgrade. The next one takes over what runs,
// and its upgrade restarts only who is left.
func TestUpgradeGoesOnAfterTheEndOfTheService(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.manager.Shutdown(t) // which stops the engines; the next one leaves them
	s.manager = s.openManager(false)
	s.mustBeHealthy(t)
	old := mustEngine(t, s.manager).Current
	s.putNew(t)
	mustBegin(t, s.manager)
	wait.Eventually(t, 30*time.Second, func() error {
		up := mustEngine(t, s.manager).Upgrade
		if len(up.Upgraded) == 0 {
			return fmt.Errorf("%+v", up)
		}
		return nil
	})
	s.manager.Shutdown(t)
	before := s.servers(t)
	s.manager = s.openManager(true)
	s.mustBeHealthy(t)
	e := mustEngine(t, s.manager)
	if after := s.servers(t); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the restart of the service restarted engines: %v, before %v", after, before)
	}
	if *e.Current != *old || e.Found.SHA256 == old.SHA256 || len(e.Running) != 2 || e.Upgrade != nil {
		t.Fatalf("after the restart: %+v", e)
	}
	i := slices.IndexFunc(e.Running, func(u api.EngineUse) bool { return u.SHA256 == e.Found.SHA256 })
	if i < 0 || e.Running[i].Units[0] != "a" {
		t.Fatalf("after the restart: %+v", e.Running)
	}
	rest := e.Running[1-i].Units
	if e = mustBegin(t, s.manager); !slices.Equal(e.Upgrade.Remaining, rest) && !slices.Equal(append(e.Upgrade.Upgraded, e.Upgrade.Remaining...), rest) {
		t.Errorf("left to do: %+v, want %v", e.Upgrade, rest)
	}
	e = mustEnd(t, s.manager)
	if e.Upgrade.State != api.UpgradeDone || !slices.Equal(e.Upgrade.Upgraded, rest) || e.Current.SHA256 != e.Found.SHA256 {
		t.Errorf("after the second upgrade: %+v", e.Upgrade)
	}
	for id, pid := range s.servers(t) {
		if same := pid == before[id]; same == slices.Contains(rest, id) {
			t.Errorf("%s is process %d, and was %d; left to do were %v", id, pid, before[id], rest)
		}
	}
}

// TestNoEngineChangesWithoutAnUpgrade changes and removes the file that the engine was installed from, and restarts the
// service: nothing is restarted, and what starts is what was current.
func TestNoEngineChangesWithoutAnUpgrade(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.manager.Shutdown(t)
	s.manager = s.openManager(false)
	s.mustBeHealthy(t)
	before, old := s.servers(t), mustEngine(t, s.manager).Current
	s.putNew(t)
	s.manager.Shutdown(t)
	s.manager = s.openManager(false)
	s.mustBeHealthy(t)
	if got := testkit.Curl(t, "POST", s.manager.URL+"/api/instances", `{"server_id": "d", "game_port": 30009}`, "X-API-Token: "+testkit.Token); got.Status != http.StatusCreated {
		t.Fatalf("create: %d %s", got.Status, got.Body)
	}
	if _, err := s.manager.Restart(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	e := mustEngine(t, s.manager)
	if *e.Current != *old || len(e.Running) != 1 || e.Running[0].EngineBuild != *old || !slices.Equal(e.Running[0].Units, []string{"a", "b", "c", "d"}) {
		t.Errorf("after the restart: %+v", e)
	}
	if err := os.Remove(s.binary); err != nil {
		t.Fatal(err)
	}
	s.manager.Shutdown(t)
	s.manager = s.openManager(true)
	if e := mustEngine(t, s.manager); *e.Current != *old || e.Found != nil || !strings.Contains(e.FoundProblem, s.binary) {
		t.Errorf("without the file: %+v", e)
	}
	if _, _, err := s.manager.UpgradeEngine(t.Context()); !client.HasCode(err, api.CodeEngineUnavailable) {
		t.Errorf("upgrade to nothing: %v", err)
	}
	if after := s.servers(t); after["a"] != before["a"] || after["b"] != before["b"] {
		t.Errorf("processes %v, before %v", after, before)
	}
}

// TestScriptThatExecutesTheEngine has a build that is a script, of which nothing is left in its process: it is known all the
// same, also to the next run of the service, and no second upgrade restarts what the first has.
func TestScriptThatExecutesTheEngine(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.manager.Shutdown(t)
	s.manager = s.openManager(false)
	s.mustBeHealthy(t)
	s.putScript(t, `exec $real "$@"`)
	mustBegin(t, s.manager)
	mustEnd(t, s.manager)
	before := s.servers(t)
	mustKnow := func() {
		t.Helper()
		e, begun, err := s.manager.UpgradeEngine(t.Context())
		if err != nil || begun || len(e.Running) != 1 || e.Running[0].EngineBuild != *e.Current || !slices.Equal(e.Running[0].Units, s.ids) {
			t.Errorf("begun %v, %v, %+v", begun, err, e)
		}
		if got := builds(t, s.manager.State); len(got) != 1 {
			t.Errorf("installed: %v", got)
		}
	}
	mustKnow()
	s.manager.Shutdown(t)
	s.manager = s.openManager(true)
	s.mustBeHealthy(t)
	mustKnow()
	if after := s.servers(t); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("processes %v, before %v", after, before)
	}
}

// mustTell checks why, and by whose order, the upgrades have restarted units.
func mustTell(t *testing.T, m *testkit.Manager, want ...string) {
	t.Helper()
	list, err := m.Events(t.Context(), client.EventQuery{Types: []api.EventType{api.EventRestarting}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list.Events {
		got = append(got, e.ServerID+" "+e.Reason)
		if e.By == api.BySupervisor || e.By == "" {
			t.Errorf("nobody has ordered it: %+v", e)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("restarts are told as %v, want %v", got, want)
	}
}

// TestOldLayoutIsTakenOver has engines that run from <version>/rathole, as earlier versions of the service installed it.
func TestOldLayoutIsTakenOver(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.manager.Shutdown(t)
	s.manager = s.openManager(false)
	s.mustBeHealthy(t)
	// The engine of one tunnel is moved to where it would be, and the note of the current one is not there yet.
	dir := filepath.Join(s.manager.State, "engine")
	s.manager.Shutdown(t)
	if err := os.Rename(filepath.Join(dir, builds(t, s.manager.State)[0]), filepath.Join(dir, rathole.Version)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "current")); err != nil {
		t.Fatal(err)
	}
	before := s.servers(t)
	s.putNew(t)
	s.manager = s.openManager(true)
	s.mustBeHealthy(t)
	e := mustEngine(t, s.manager)
	if after := s.servers(t); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("processes %v, before %v", after, before)
	}
	if len(e.Running) != 1 || e.Running[0].Path != filepath.Join(dir, rathole.Version, "rathole") || e.Current.SHA256 == e.Running[0].SHA256 {
		t.Fatalf("after the restart: %+v", e)
	}
	mustBegin(t, s.manager)
	if e := mustEnd(t, s.manager); e.Upgrade.State != api.UpgradeDone || !slices.Equal(e.Upgrade.Upgraded, s.ids) {
		t.Errorf("upgrade: %+v", e.Upgrade)
	}
	if got := builds(t, s.manager.State); len(got) != 1 || got[0] == rathole.Version {
		t.Errorf("installed: %v", got)
	}
}
