package manager_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// TestFrozenEngineIsNotRunning stops engines by SIGSTOP: the kernel has all their sockets still, and nothing serves.
func TestFrozenEngineIsNotRunning(t *testing.T) {
	t.Parallel()
	m, a := testkit.StartManager(t, nil), testkit.StartAgent(t, nil)
	mustCreate(t, m, one("one", 30000, api.TCP))
	connect(t, m, a, "one")
	server, err := m.Restart(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	client, err := a.Restart(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	connect(t, m, a, "one")
	for _, pid := range []int{server.PID, client.PID} {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	wait.Eventually(t, 3*time.Second, func() error {
		i, err := m.Get(t.Context(), "one")
		if err != nil {
			return err
		}
		c, err := a.Get(t.Context(), "one")
		if err != nil {
			return err
		}
		for _, conditions := range [][]api.Condition{i.Conditions, c.Conditions} {
			if conditions[0].Type != api.ProcessRunning || conditions[0].Status != api.False || !strings.Contains(conditions[0].Message, "SIGSTOP") {
				return fmt.Errorf("%+v", conditions)
			}
		}
		if i.Status != api.StatusDown || c.Status != api.StatusDown {
			return fmt.Errorf("status %s and %s", i.Status, c.Status)
		}
		return nil
	})
}
