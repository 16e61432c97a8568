package manager_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// is checks an instance's status and what one of its conditions says.
func is(t *testing.T, m *testkit.Manager, id string, status api.Status, condition, reason string, says ...string) error {
	t.Helper()
	i, err := m.Get(t.Context(), id)
	if err != nil {
		return err
	}
	for _, c := range i.Conditions {
		if c.Type != condition {
			continue
		}
		if i.Status != status || c.Reason != reason {
			return fmt.Errorf("%s, %s %s: %s", i.Status, c.Type, c.Reason, c.Message)
		}
		for _, part := range says {
			if !strings.Contains(c.Message, part) {
				return fmt.Errorf("%q does not say %q", c.Message, part)
			}
		}
		return nil
	}
	return fmt.Errorf("no condition %s: %+v", condition, i.Conditions)
}

// TestControlPortStolen takes the control port while the engine is down: the thief is named, and the port taken back.
func TestControlPortStolen(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, func(c *manager.Config) { c.BackoffMin = 200 * time.Millisecond })
	i := mustCreate(t, m, one("one", 30000, api.TCP))
	other := mustCreate(t, m, one("other", 30001, api.TCP))
	engine, err := m.Restart(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(engine.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var thief net.Listener
	wait.Eventually(t, 5*time.Second, func() (err error) {
		thief, err = net.Listen("tcp4", fmt.Sprintf("%s:%d", m.Bind, i.RatholePort))
		return err
	})
	wait.Eventually(t, 5*time.Second, func() error {
		return is(t, m, "one", api.StatusDown, api.ProcessRunning, "control_port_in_use", fmt.Sprint(i.RatholePort), fmt.Sprintf("pid %d", os.Getpid()))
	})
	if err := thief.Close(); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 10*time.Second, func() error {
		return is(t, m, "one", api.StatusInactive, api.ProcessRunning, "running")
	})
	if now, err := m.Get(t.Context(), "other"); err != nil || now.Status != api.StatusInactive || now.Revision != other.Revision {
		t.Errorf("the other instance: %v %+v", err, now)
	}
}

// TestPublicPortStolen takes a public port before the client comes: rathole says nothing of it, and the status does.
func TestPublicPortStolen(t *testing.T) {
	t.Parallel()
	m, a := testkit.StartManager(t, nil), testkit.StartAgent(t, nil)
	mustCreate(t, m, one("one", 30000, api.TCP))
	thief, err := net.Listen("tcp4", fmt.Sprintf("%s:30000", m.Bind))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := m.ClientConfig(t.Context(), "one", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Configure(t.Context(), "one", cfg.Config, false); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 5*time.Second, func() error {
		return is(t, m, "one", api.StatusDegraded, api.PortsListening, "port_stolen", "30000/tcp", "another program")
	})
	if err := thief.Close(); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 10*time.Second, func() error {
		return is(t, m, "one", api.StatusHealthy, api.PortsListening, "listening")
	})
}
