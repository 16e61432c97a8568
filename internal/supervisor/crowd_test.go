package supervisor_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// shell are the rules of an engine that a machine can run a thousand of: the shell, with the unit's config as its script.
// It is process <sh -e config>, and ends by any signal that is sent to it.
type shell struct{ fakeRules }

const shellFlag = "-e"

func (shell) Program(supervisor.Record[extra]) (string, error) { return "/bin/sh", nil }

// crowd is a house of shells.
type crowd struct {
	*house
	script string // a config whose engine waits for a writer that never comes

	mu   sync.Mutex
	made []int // pids of all that were created, and perhaps adopted, stopped or lost since
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	c := &crowd{house: newHouse(t)}
	c.flag = shellFlag
	// A test that fails may leave processes that no supervisor knows.
	t.Cleanup(func() {
		for _, pid := range c.made {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err == nil && strings.Contains(string(text), c.units()) {
				kill(t, pid)
			}
		}
	})
	never := filepath.Join(t.TempDir(), "never")
	if err := syscall.Mkfifo(never, 0o600); err != nil {
		t.Fatal(err)
	}
	c.script = fmt.Sprintf("echo running\nread line <'%s'\n", never)
	return c
}

func (c *crowd) open() *shift {
	c.t.Helper()
	return c.house.open(func(cfg *supervisor.Config[extra]) { cfg.Rules, cfg.FrozenAfter = shell{}, time.Hour })
}

func name(n int) string { return fmt.Sprintf("unit-%04d", n) }

// mustFill creates so many units and returns their pids.
func (c *crowd) mustFill(s *shift, count int) map[string]int {
	c.t.Helper()
	var wg sync.WaitGroup
	pids := map[string]int{}
	const creators = 16
	for first := range creators {
		wg.Go(func() {
			for n := first; n < count; n += creators {
				id := name(n)
				v, err := s.Create(c.t.Context(), id, supervisor.Draft[extra]{Desired: supervisor.Running, Config: c.script})
				if err != nil {
					c.t.Errorf("create %s: %v", id, err)
					return
				}
				c.mu.Lock()
				pids[id], c.made = v.Process.PID, append(c.made, v.Process.PID)
				c.mu.Unlock()
			}
		})
	}
	wg.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
	return pids
}

// mustServe wants every unit but those to run with the pid that it had.
func mustServe(t *testing.T, s *shift, pids map[string]int, but ...string) {
	t.Helper()
	want := maps.Clone(pids)
	for _, id := range but {
		delete(want, id)
	}
	wait.Eventually(t, time.Minute, func() error {
		for id, pid := range want {
			v, err := s.Get(id)
			if err != nil || v.Phase != supervisor.PhaseRunning || v.Process.PID != pid || !alive(pid) {
				return fmt.Errorf("%s is %s with process %d, had %d (%w)", id, v.Phase, v.Process.PID, pid, err)
			}
		}
		return nil
	})
}

// mustLive wants processes to be as they were, whoever thinks what of them.
func mustLive(t *testing.T, pids map[string]int) {
	t.Helper()
	for id, pid := range pids {
		if !alive(pid) {
			t.Errorf("process %d of %s was ended", pid, id)
		}
	}
}

// replaceIn changes a part of a file that must be there.
func replaceIn(path, before, after string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), before) {
		return fmt.Errorf("%s has no %q", path, before)
	}
	return os.WriteFile(path, []byte(strings.Replace(string(text), before, after, 1)), 0o600)
}
