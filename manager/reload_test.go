package manager_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// boasting is an engine that never looks at its config again, and says that it has whenever the file changes.
const boasting = `#!/bin/sh
real=%s
case $1 in -V|--version) exec $real $1;; esac
d=$(mktemp -d)
cp "$2" $d/server.toml
(
	exec 3>&-
	was=$(cat "$2")
	while kill -0 $$; do
		now=$(cat "$2")
		[ "$now" = "$was" ] || echo "Service change detected. Or so they say"
		was=$now
		sleep 0.05
	done
	rm -r $d
) 2>/dev/null &
exec $real $1 $d/server.toml
`

// boastingEngine installs one where every user can run it.
func boastingEngine(t *testing.T) string {
	t.Helper()
	dir := testkit.StateDir(t)
	text, err := os.ReadFile(testkit.Rathole(t))
	if err != nil {
		t.Fatal(err)
	}
	engine, path := filepath.Join(dir, "real"), filepath.Join(dir, "rathole")
	for path, text := range map[string][]byte{engine: text, path: fmt.Appendf(nil, boasting, engine)} {
		if err := os.WriteFile(path, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// notedPID is an instance's or a client's process, from the note that its service keeps of it.
func notedPID(t *testing.T, state, units, id string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(state, units, id, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	var run struct{ PID int }
	if err := json.Unmarshal(text, &run); err != nil {
		t.Fatal(err)
	}
	return run.PID
}

func mustUpdate(t *testing.T, m *testkit.Manager, id string, spec api.InstanceSpec) api.Instance {
	t.Helper()
	i, err := m.Update(t.Context(), id, api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestAReloadThatIsOnlySaid has an engine whose log tells of reloads that it does not make: the client's old connections
// stay, so it is restarted, and does run what it was given.
func TestAReloadThatIsOnlySaid(t *testing.T) {
	t.Parallel()
	binary := boastingEngine(t)
	m, a := testkit.StartManager(t, func(c *manager.Config) { c.Binary = binary }), testkit.StartAgent(t, nil)
	server := testkit.StartGame(t, "honest", 30000, 30001, 30005)
	spec := api.InstanceSpec{GamePort: 30000, BeaconPort: 30001, HostIP: server.Host.String()}
	mustCreate(t, m, api.CreateInstance{ServerID: "one", InstanceSpec: spec})
	connect(t, m, a, "one")
	before := notedPID(t, m.State, "instances", "one")
	spec.BeaconPort = 30005
	mustUpdate(t, m, "one", spec)
	if notedPID(t, m.State, "instances", "one") == before {
		t.Error("the engine that only says so was not restarted")
	}
	if up := connect(t, m, a, "one"); len(up.Warnings) != 0 {
		t.Errorf("after the restart: %v", up.Warnings)
	}
	testkit.MustReach(t, fmt.Sprintf("%s:30005", m.Bind), "honest", api.TCP, api.UDP)
	if _, err := game.Ask(t.Context(), api.TCP, fmt.Sprintf("%s:30001", m.Bind), "status"); err == nil {
		t.Error("the old beacon port still answers")
	}
}

// TestAReloadThatCannotBeSeen changes a service twice before its client hears of it: the second time it has no connection
// that could be seen to close. The answer says so, until the client is connected by the newest config.
func TestAReloadThatCannotBeSeen(t *testing.T) {
	t.Parallel()
	m, a := testkit.StartManager(t, nil), testkit.StartAgent(t, nil)
	server := testkit.StartGame(t, "unseen", 30000, 30001, 30002, 30003)
	spec := api.InstanceSpec{GamePort: 30000, BeaconPort: 30001, HostIP: server.Host.String()}
	mustCreate(t, m, api.CreateInstance{ServerID: "one", InstanceSpec: spec})
	connect(t, m, a, "one")
	servers, clients := notedPID(t, m.State, "instances", "one"), notedPID(t, a.State, "clients", "one")
	spec.BeaconPort = 30002
	if first := mustUpdate(t, m, "one", spec); len(first.Warnings) != 0 {
		t.Errorf("the old connections are gone, and yet: %v", first.Warnings)
	}
	spec.BeaconPort = 30003
	second := mustUpdate(t, m, "one", spec)
	if len(second.Warnings) != 1 || !strings.HasPrefix(second.Warnings[0], "reload_unverified: ") {
		t.Errorf("warnings %q", second.Warnings)
	}
	if now, err := m.Get(t.Context(), "one"); err != nil || len(now.Warnings) != 1 {
		t.Errorf("asked again: %q %v", now.Warnings, err)
	}
	if up := connect(t, m, a, "one"); len(up.Warnings) != 0 {
		t.Errorf("connected by the newest config: %v", up.Warnings)
	}
	if c, err := a.Get(t.Context(), "one"); err != nil || len(c.Warnings) != 0 {
		t.Errorf("the client, which was told after its server: %v %q", err, c.Warnings)
	}
	if s, c := notedPID(t, m.State, "instances", "one"), notedPID(t, a.State, "clients", "one"); s != servers || c != clients {
		t.Errorf("restarted: server %d to %d, client %d to %d", servers, s, clients, c)
	}
	testkit.MustReach(t, fmt.Sprintf("%s:30003", m.Bind), "unseen", api.TCP, api.UDP)

	// A service that is removed, server first: its client has nothing to show, and nothing to doubt.
	spec.BeaconPort = 0
	if i := mustUpdate(t, m, "one", spec); len(i.Warnings) != 0 {
		t.Errorf("a service was removed: %v", i.Warnings)
	}
	connect(t, m, a, "one")
	if c, err := a.Get(t.Context(), "one"); err != nil || len(c.Warnings) != 0 {
		t.Errorf("the client, after a service was removed: %v %q", err, c.Warnings)
	}
}
