package manager_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// TestRotate follows a player on TCP through a rotation: he stays, while a client with the old secrets is shut out.
func TestRotate(t *testing.T) {
	t.Parallel()
	m, a := testkit.StartManager(t, nil), testkit.StartAgent(t, nil)
	server := testkit.StartGame(t, "the game", 30000)
	before := mustCreate(t, m, api.CreateInstance{ServerID: "one", InstanceSpec: api.InstanceSpec{GamePort: 30000, HostIP: server.Host.String()}})
	other := mustCreate(t, m, one("two", 30001, api.TCP))
	connect(t, m, a, "one")
	process := runs(t, a, "one")
	player, err := game.Join(t.Context(), api.TCP, fmt.Sprintf("%s:30000", m.Bind))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = player.Leave() }()
	if _, err := player.Ask("status"); err != nil {
		t.Fatal(err)
	}

	after, err := m.Rotate(t.Context(), "one", client.ETag(before))
	if err != nil {
		t.Fatal(err)
	}
	if after.Revision != before.Revision+1 || after.ClientConfigSHA256 == before.ClientConfigSHA256 || after.RatholePort != before.RatholePort {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	if _, err := m.Rotate(t.Context(), "one", client.ETag(before)); !client.HasCode(err, api.CodeRevisionMismatch) {
		t.Errorf("the same rotation again: %v", err)
	}
	wait.Eventually(t, 10*time.Second, func() error {
		inst, err := m.Get(t.Context(), "one")
		if err == nil && inst.Status != api.StatusDown {
			err = fmt.Errorf("a client with the old secrets counts: %s %+v", inst.Status, inst.Conditions)
		}
		return err
	})
	connect(t, m, a, "one")
	if got, err := player.Ask("still there?"); err != nil || got != "still there?" {
		t.Errorf("the player was dropped: %q %v", got, err)
	}
	testkit.MustReach(t, fmt.Sprintf("%s:30000", m.Bind), "the game", api.TCP, api.UDP)
	if now := runs(t, a, "one"); now != process {
		t.Errorf("the client was restarted: %s, then %s", process, now)
	}
	if now, err := m.Get(t.Context(), "two"); err != nil || now.Revision != other.Revision || now.ClientConfigSHA256 != other.ClientConfigSHA256 {
		t.Errorf("another instance was touched: %+v %v", now, err)
	}
	if _, err := m.Rotate(t.Context(), "none", ""); !client.IsNotFound(err) {
		t.Errorf("rotation of nothing: %v", err)
	}
}

// runs is what an agent says of a client's process, which names its pid.
func runs(t *testing.T, a *testkit.Agent, id string) string {
	t.Helper()
	c, err := a.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, condition := range c.Conditions {
		if condition.Type == api.ProcessRunning && condition.Status == api.True {
			return condition.Message
		}
	}
	t.Fatalf("the client of %s does not run: %+v", id, c.Conditions)
	return ""
}
