package manager_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// TestTwoClients gives one instance's config to two agents: their clients push each other out for ever, and nothing but the
// server's log tells.
func TestTwoClients(t *testing.T) {
	t.Parallel()
	m, first, second := testkit.StartManager(t, nil), testkit.StartAgent(t, nil), testkit.StartAgent(t, nil)
	mustCreate(t, m, one("one", 30000, api.TCP))
	connect(t, m, first, "one")
	cfg, err := m.ClientConfig(t.Context(), "one", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Configure(t.Context(), "one", cfg.Config, false); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 30*time.Second, func() error {
		return is(t, m, "one", api.StatusDegraded, api.ClientConnected, "two_clients", "stop one of them")
	})
	var list api.EventList
	testkit.Curl(t, "GET", m.URL+"/api/events?type=two_clients", "", "Authorization: Bearer "+testkit.Token).Into(t, &list)
	if len(list.Events) != 1 || list.Events[0].ServerID != "one" {
		t.Errorf("events: %+v", list.Events)
	}
	if _, err := second.Stop(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 60*time.Second, func() error {
		i, err := m.Get(t.Context(), "one")
		if err == nil && slices.ContainsFunc(i.Conditions, func(c api.Condition) bool { return c.Reason == "two_clients" }) {
			err = errors.New("they still fight")
		}
		return err
	})
}
