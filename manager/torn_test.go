package manager_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// TestTornRecordUnderAPlayer tears one record of five while a manager is away and somebody plays through the tunnel. The
// player goes on, the ports stay whose they were, whoever asks is told, and a record that is put back is taken at its word.
func TestTornRecordUnderAPlayer(t *testing.T) {
	t.Parallel()
	a := testkit.StartAgent(t, nil)
	server := testkit.StartGame(t, "lasting", 30000)
	open := func(state func(*manager.Config)) *testkit.Manager {
		return testkit.StartManager(t, func(c *manager.Config) {
			c.Control = []api.PortRange{{Start: 10000, End: 10007}} // few enough that a free one is soon given
			state(c)
		})
	}
	m := open(func(c *manager.Config) { c.StopOnExit = false })
	pids, torn := map[string]int{}, api.Instance{}
	t.Cleanup(func() { // the engine of a torn record outlives its manager
		for _, pid := range pids {
			if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.Contains(string(text), m.State) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	for n := range 5 {
		req := one(fmt.Sprint("srv-", n), 30000+n, api.TCP)
		req.HostIP = server.Host.String()
		req.Services["game"] = api.ServiceSpec{Protocols: []api.Protocol{api.TCP}, LocalPort: 30000, PublicPort: 30000 + n}
		if made := mustCreate(t, m, req); n == 2 {
			torn = made
		}
		pids[req.ServerID] = pid(t, m, req.ServerID)
	}
	id := torn.ServerID
	connect(t, m, a, id)
	player, err := game.Join(t.Context(), api.TCP, fmt.Sprintf("%s:%d", m.Bind, torn.Services["game"].PublicPort))
	if err != nil {
		t.Fatal(err)
	}
	play := func(when string) {
		t.Helper()
		if got, err := player.Ask(when); err != nil || got != when {
			t.Errorf("%s: %q %v", when, got, err)
		}
	}
	play("before")

	m.Shutdown(t)
	record := filepath.Join(m.State, "instances", id, "record.json")
	text, err := os.ReadFile(record)
	if err == nil {
		err = os.WriteFile(record, text[:len(text)/2], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	m = open(func(c *manager.Config) { c.State, c.Bind, c.StopOnExit = m.State, m.Bind, false })
	play("with half a record")
	for other, before := range pids {
		if other != id && pid(t, m, other) != before {
			t.Errorf("%s has another process", other)
		}
	}
	if err := syscall.Kill(pids[id], 0); err != nil {
		t.Errorf("process %d: %v", pids[id], err)
	}
	create := fmt.Sprintf(`{"server_id": %q, "game_port": 30009}`, id)
	for _, got := range []testkit.Answer{
		testkit.Curl(t, "GET", m.URL+"/api/instances/"+id, "", auth), testkit.Curl(t, "POST", m.URL+"/api/instances", create, auth),
	} {
		if p := got.MustBe(t, http.StatusInternalServerError, api.CodeInternal); !strings.Contains(p.Detail, "cannot be read") {
			t.Errorf("it says %q", p.Detail)
		}
	}
	_, _, err = m.Create(t.Context(), one("taker", torn.Services["game"].PublicPort, api.TCP), client.CreateOptions{})
	mustConflict(t, err, api.OwnerInstance, id)
	for n := range 3 { // all control ports but one, which is the torn one's
		mustCreate(t, m, one(fmt.Sprint("more-", n), 0, api.TCP))
	}
	testkit.Curl(t, "POST", m.URL+"/api/instances", `{"server_id": "one-too-many", "game_port": 30009}`, auth).
		MustBe(t, http.StatusInsufficientStorage, api.CodePortsExhausted)
	play("beside new instances")

	m.Shutdown(t)
	if err := os.WriteFile(record, text, 0o600); err != nil {
		t.Fatal(err)
	}
	m = open(func(c *manager.Config) { c.State, c.Bind = m.State, m.Bind })
	if back := connect(t, m, a, id); back.UID != torn.UID || pid(t, m, id) != pids[id] {
		t.Errorf("%+v", back)
	}
	play("with the record put back")
}
