package manager_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/agent"
	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/events"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// told awaits exactly these types of events of an instance, in this order. A public port that is bound more than 250 ms after
// the client came is told, rightly (degraded), and happens where the machine is busy: that is no part of the story.
func told(t *testing.T, of func(context.Context, client.EventQuery) (api.EventList, error), want ...api.EventType) []api.Event {
	t.Helper()
	var list api.EventList
	wait.Eventually(t, time.Minute, func() (err error) {
		list, err = of(t.Context(), client.EventQuery{ServerID: "one", After: new(int64)})
		if err != nil {
			return err
		}
		list.Events = slices.DeleteFunc(list.Events, func(e api.Event) bool { return e.Type == api.EventDegraded })
		var got []api.EventType
		for _, e := range list.Events {
			got = append(got, e.Type)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("events\n%v\nwant\n%v", got, want)
		}
		return nil
	})
	return list.Events
}

// TestEventsTellTheStory creates, connects, kills and deletes: both halves tell exactly that.
func TestEventsTellTheStory(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, func(c *manager.Config) { c.BackoffMin = 4 * time.Second })
	a := testkit.StartAgent(t, func(c *agent.Config) { c.BackoffMin = 4 * time.Second })
	game := testkit.StartGame(t, "satisfactory", 7777)
	req := one("one", 30000, api.TCP)
	req.HostIP = game.Host.String()
	mustCreate(t, m, req)
	connect(t, m, a, "one")

	if c, err := a.Wait(t.Context(), "one", api.StatusHealthy, 10*time.Second); err != nil || c.Status != api.StatusHealthy {
		t.Fatalf("the client: %v, %+v", err, c)
	}

	manager := []api.EventType{api.EventCreated, api.EventStarted, api.EventReady, api.EventConnected, api.EventHealthy}
	agent := slices.Clone(manager)
	first := told(t, m.Events, manager...)
	told(t, a.Events, agent...)

	kill := func(list []api.Event) {
		t.Helper()
		var pid int
		if _, err := fmt.Sscanf(list[1].Message, "process %d ", &pid); err != nil {
			t.Fatalf("%q: %v", list[1].Message, err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	kill(first)
	manager = append(manager, api.EventExited, api.EventClientLost, api.EventDown, api.EventStarted, api.EventReady, api.EventConnected, api.EventHealthy)
	agent = append(agent, api.EventServerLost, api.EventDown, api.EventConnected, api.EventHealthy)
	told(t, m.Events, manager...)
	kill(told(t, a.Events, agent...))
	manager = append(manager, api.EventClientLost, api.EventDown, api.EventConnected, api.EventHealthy)
	agent = append(agent, api.EventExited, api.EventServerLost, api.EventDown, api.EventStarted, api.EventReady, api.EventConnected, api.EventHealthy)
	told(t, a.Events, agent...)
	told(t, m.Events, manager...)

	if _, err := a.Stop(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	told(t, a.Events, append(agent, api.EventDeleted, api.EventRemoved)...)
	manager = append(manager, api.EventClientLost, api.EventDown)
	told(t, m.Events, manager...)
	if err := m.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	all := told(t, m.Events, append(manager, api.EventDeleted, api.EventRemoved)...)

	if e := all[0]; e.By != "127.0.0.1" || e.ServerID != "one" || time.Since(e.Time) > time.Minute {
		t.Errorf("created: %+v", e)
	}
	if e := all[5]; e.Reason != "exited" || !strings.Contains(e.Message, "SIGKILL") || e.By != api.BySupervisor {
		t.Errorf("exited: %+v", e)
	}
	if e := all[6]; e.Reason != "exited" || e.By != "" {
		t.Errorf("client lost: %+v", e)
	}
	mustHoldNoSecrets(t, m.State)
	mustHoldNoSecrets(t, a.State)
	if answer := testkit.Curl(t, "GET", m.URL+"/api/instances/one/events", "", "Authorization: Bearer "+testkit.Token); answer.Status != 404 {
		t.Errorf("events of what is gone, at its own path: %d %s", answer.Status, answer.Body)
	}
}

// mustHoldNoSecrets looks for the API token and for anything like a secret in a service's journal.
func mustHoldNoSecrets(t *testing.T, state string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(state, "log", events.FileName))
	if err != nil || len(text) == 0 {
		t.Fatalf("the journal: %v", err)
	}
	for word := range strings.FieldsFuncSeq(string(text), func(r rune) bool { return strings.ContainsRune(" \"\\,:=", r) }) {
		if len(word) >= 43 || word == testkit.Token {
			t.Errorf("the journal holds %q", word)
		}
	}
}
