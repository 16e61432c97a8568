package supervisor_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// alive tells whether a process runs. One that has ended and waits for its parent, this test program, does not.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestCreateRunsAndDeleteLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.open(nil)
	v := s.mustCreate(t, "one", "run")
	if v.Phase != supervisor.PhaseRunning || !alive(v.Process.PID) || v.Applied != 1 {
		t.Fatalf("after create: phase %s, pid %d, applied %d", v.Phase, v.Process.PID, v.Applied)
	}
	if sid, err := sessionOf(v.Process.PID); err != nil || sid != v.Process.PID {
		t.Errorf("process %d is in session %d (%v), want a session of its own", v.Process.PID, sid, err)
	}
	if _, err := s.Create(t.Context(), "one", supervisor.Draft[extra]{Desired: supervisor.Running, Config: "run"}); !errors.Is(err, supervisor.ErrExists) {
		t.Errorf("second create: %v, want ErrExists", err)
	}
	if err := s.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if alive(v.Process.PID) {
		t.Errorf("process %d lives on", v.Process.PID)
	}
	for _, path := range []string{h.units(), h.logs()} {
		if left, _ := os.ReadDir(path); len(left) != 0 {
			t.Errorf("%s still holds %v", path, left)
		}
	}
	if err := s.Delete(t.Context(), "one"); !errors.Is(err, supervisor.ErrNotFound) {
		t.Errorf("second delete: %v, want ErrNotFound", err)
	}
}

func TestCreateThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, config := range []string{"exit 0", "exit 3", "refused", "slow"} {
		t.Run(config, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			s := h.open(func(c *supervisor.Config[extra]) { c.StartTimeout = 300 * time.Millisecond })
			_, err := s.Create(t.Context(), "one", supervisor.Draft[extra]{Desired: supervisor.Running, Config: config})
			var f *supervisor.Failure
			if !errors.As(err, &f) {
				t.Fatalf("create: %v, want a Failure", err)
			}
			if s.Has("one") {
				t.Error("the unit exists after its create failed")
			}
			if left, _ := os.ReadDir(h.units()); len(left) != 0 {
				t.Errorf("files are left: %v", left)
			}
			if left, err := s.backend.List(t.Context()); err != nil || len(left) != 0 {
				t.Errorf("processes are left: %v %v", left, err)
			}
		})
	}
}

func TestEndedProcessIsRestarted(t *testing.T) {
	t.Parallel()
	s := newHouse(t).open(nil)
	first := s.mustCreate(t, "one", "run")
	other := s.mustCreate(t, "other", "run")
	kill(t, first.Process.PID)
	wait.Eventually(t, 5*time.Second, func() error {
		v, _ := s.Get("one")
		if v.Phase != supervisor.PhaseRunning || v.Process.PID == first.Process.PID {
			return fmt.Errorf("phase %s, pid %d", v.Phase, v.Process.PID)
		}
		if v.Restarts != 1 {
			return fmt.Errorf("%d restarts", v.Restarts)
		}
		return nil
	})
	if v, _ := s.Get("other"); v.Process.PID != other.Process.PID {
		t.Errorf("the other unit has process %d, had %d", v.Process.PID, other.Process.PID)
	}
}

func TestBackoffGrowsAndIsVisible(t *testing.T) {
	t.Parallel()
	s := newHouse(t).open(func(c *supervisor.Config[extra]) {
		c.BackoffMin, c.BackoffMax = 10*time.Millisecond, 40*time.Millisecond
	})
	s.mustCreate(t, "one", "run")
	if _, err := s.Update(t.Context(), "one", 0, supervisor.Draft[extra]{Desired: supervisor.Running, Config: "exit 7"}); err == nil {
		t.Fatal("an update to a config that exits succeeded")
	}
	wait.Eventually(t, 5*time.Second, func() error {
		v, _ := s.Get("one")
		if v.Attempts < 4 || v.Failure == nil || v.Phase != supervisor.PhaseBackoff {
			return fmt.Errorf("attempts %d, phase %s: %w", v.Attempts, v.Phase, v.Failure)
		}
		if !strings.Contains(v.Failure.Message, "code 7") {
			return fmt.Errorf("message %q does not tell the exit code", v.Failure.Message)
		}
		return nil
	})
	// New orders are tried at once, whatever the back-off.
	if _, err := s.Update(t.Context(), "one", 0, supervisor.Draft[extra]{Desired: supervisor.Running, Config: "run"}); err != nil {
		t.Fatalf("update to a config that runs: %v", err)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	s := newHouse(t).open(nil)
	v := s.mustCreate(t, "one", "reloadable a")
	update := func(config, note string) supervisor.View[extra] {
		t.Helper()
		v, err := s.Update(t.Context(), "one", v.Record.Revision, supervisor.Draft[extra]{
			Desired: supervisor.Running, Config: config, Spec: extra{Note: note},
		})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	reloaded := update("reloadable b", "")
	if reloaded.Process.PID != v.Process.PID || reloaded.Applied != 2 {
		t.Errorf("reload: pid %d to %d, applied %d", v.Process.PID, reloaded.Process.PID, reloaded.Applied)
	}
	if got, err := s.backend.ReadConfig("one"); err != nil || got != "reloadable b" {
		t.Errorf("config after reload: %q %v", got, err)
	}
	if _, err := s.Update(t.Context(), "one", 1, supervisor.Draft[extra]{}); !errors.Is(err, supervisor.ErrRevision) {
		t.Errorf("update of a stale revision: %v, want ErrRevision", err)
	}
	v = reloaded
	noted := update("reloadable b", "a note only")
	if noted.Process.PID != v.Process.PID || noted.Applied != 3 {
		t.Errorf("a change that leaves the config alone: pid %d to %d, applied %d", v.Process.PID, noted.Process.PID, noted.Applied)
	}
	v = noted
	if restarted := update("run", ""); restarted.Process.PID == v.Process.PID || alive(v.Process.PID) {
		t.Errorf("a change that cannot be reloaded kept process %d", v.Process.PID)
	}
}

func TestStoppedKeepsTheRecord(t *testing.T) {
	t.Parallel()
	s := newHouse(t).open(nil)
	v := s.mustCreate(t, "one", "run")
	stopped, err := s.Update(t.Context(), "one", 0, supervisor.Draft[extra]{Desired: supervisor.Stopped, Config: "run"})
	if err != nil || stopped.Phase != supervisor.PhaseStopped || alive(v.Process.PID) {
		t.Fatalf("stop: %v, phase %s, alive %v", err, stopped.Phase, alive(v.Process.PID))
	}
	again, err := s.Update(t.Context(), "one", 0, supervisor.Draft[extra]{Desired: supervisor.Running, Config: "run"})
	if err != nil || !alive(again.Process.PID) {
		t.Fatalf("start again: %v", err)
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	s := newHouse(t).open(nil)
	before := s.mustCreate(t, "one", "run")
	after, err := s.Restart(t.Context(), "one")
	if err != nil || after.Process.PID == before.Process.PID || alive(before.Process.PID) {
		t.Fatalf("restart: %v, pid %d to %d", err, before.Process.PID, after.Process.PID)
	}
	if _, err := s.Restart(t.Context(), "none"); !errors.Is(err, supervisor.ErrNotFound) {
		t.Errorf("restart of nothing: %v, want ErrNotFound", err)
	}
}

// TestRestartsAtOnce orders new processes while others are being started: whoever is answered has one that stays, unless a
// later order replaces it.
func TestRestartsAtOnce(t *testing.T) {
	t.Parallel()
	s := newHouse(t).open(nil)
	s.mustCreate(t, "one", "reloadable")
	for round := range 10 {
		var (
			wg       sync.WaitGroup
			mu       sync.Mutex
			answered []int
		)
		for caller := range 4 {
			wg.Go(func() {
				<-time.After(time.Duration(caller*round) * time.Millisecond) // orders come at all stages of a start
				v, err := s.Restart(t.Context(), "one")
				mu.Lock()
				defer mu.Unlock()
				answered = append(answered, v.Process.PID)
				if err != nil {
					t.Errorf("restart: %v", err)
				}
			})
		}
		wg.Wait()
		// What is left to do for the unit is done before this is.
		v, err := s.Update(t.Context(), "one", 0, supervisor.Draft[extra]{Desired: supervisor.Running, Config: fmt.Sprint("reloadable ", round)})
		if err != nil || !slices.Contains(answered, v.Process.PID) {
			t.Fatalf("process %d runs, which no order was answered with: %v, %v", v.Process.PID, answered, err)
		}
	}
}

func TestFrozenProcessIsReplaced(t *testing.T) {
	t.Parallel()
	s := newHouse(t).open(func(c *supervisor.Config[extra]) { c.FrozenAfter = 40 * time.Millisecond })
	v, other := s.mustCreate(t, "one", "run"), s.mustCreate(t, "other", "run")
	if err := syscall.Kill(v.Process.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 5*time.Second, func() error {
		now, err := s.Get("one")
		if err == nil && (now.Phase != supervisor.PhaseRunning || now.Process.PID == v.Process.PID || alive(v.Process.PID)) {
			err = fmt.Errorf("phase %s, pid %d, had %d", now.Phase, now.Process.PID, v.Process.PID)
		}
		return err
	})
	if now, err := s.Get("other"); err != nil || now.Process.PID != other.Process.PID {
		t.Errorf("the other unit: pid %d, had %d, %v", now.Process.PID, other.Process.PID, err)
	}
}

func TestFrozenProcessIsKilledWithoutGrace(t *testing.T) {
	t.Parallel()
	s := newHouse(t).open(nil)
	v := s.mustCreate(t, "one", "run")
	if err := syscall.Kill(v.Process.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "one"); err != nil || alive(v.Process.PID) {
		t.Fatalf("delete: %v, alive %v", err, alive(v.Process.PID))
	}
}

// TestOperationsEndWithTheSupervisor wants no caller to wait for workers that are gone.
func TestOperationsEndWithTheSupervisor(t *testing.T) {
	t.Parallel()
	s := newHouse(t).open(nil)
	s.mustCreate(t, "one", "run")
	s.end()
	for name, do := range map[string]func() error{
		"restart": func() error { _, err := s.Restart(t.Context(), "one"); return err },
		"delete":  func() error { return s.Delete(t.Context(), "one") },
	} {
		if err := do(); !errors.Is(err, supervisor.ErrNotReady) {
			t.Errorf("%s: %v, want ErrNotReady", name, err)
		}
	}
}

// TestSickUnitsHoldUpNobody deletes a unit that is not ready yet, and creates one beside many such.
func TestSickUnitsHoldUpNobody(t *testing.T) {
	t.Parallel()
	s := newHouse(t).open(func(c *supervisor.Config[extra]) { c.StartTimeout = 5 * time.Second })
	for i := range 8 {
		go func() {
			_, _ = s.Create(t.Context(), fmt.Sprint("slow-", i), supervisor.Draft[extra]{Desired: supervisor.Running, Config: "slow"}) // fails when deleted
		}()
	}
	wait.Eventually(t, 5*time.Second, func() error {
		v, err := s.Get("slow-0")
		if err == nil && v.Phase != supervisor.PhaseStarting {
			err = fmt.Errorf("it is %s", v.Phase)
		}
		return err
	})
	begin := time.Now()
	s.mustCreate(t, "healthy", "run")
	if err := s.Delete(t.Context(), "slow-0"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("beside starters that take 5 s, a create and a delete took %s", took)
	}
}

func TestConcurrentCreatesOfOneName(t *testing.T) {
	t.Parallel()
	s := newHouse(t).open(nil)
	errs := make(chan error, 10)
	for range cap(errs) {
		go func() {
			_, err := s.Create(t.Context(), "one", supervisor.Draft[extra]{Desired: supervisor.Running, Config: "run"})
			errs <- err
		}()
	}
	made := 0
	for range cap(errs) {
		switch err := <-errs; {
		case err == nil:
			made++
		case !errors.Is(err, supervisor.ErrExists):
			t.Errorf("create: %v", err)
		}
	}
	if made != 1 {
		t.Errorf("%d creates succeeded, want 1", made)
	}
}

func sessionOf(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	var state string
	var ppid, pgrp, session int
	_, err = fmt.Sscan(string(text[strings.LastIndex(string(text), ")")+2:]), &state, &ppid, &pgrp, &session)
	return session, err
}
