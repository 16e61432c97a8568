package supervisor_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

func TestProcessesOutliveTheServiceAndAreAdopted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.open(nil)
	pids := map[string]int{}
	for i := range 5 {
		id := fmt.Sprint("unit-", i)
		pids[id] = first.mustCreate(t, id, "run").Process.PID
	}
	first.end()
	for id, pid := range pids {
		if !alive(pid) {
			t.Errorf("process %d of %s ended with its service", pid, id)
		}
	}
	// One loses its hint file: the lock and the command line tell who it is.
	if err := os.Remove(filepath.Join(h.units(), "unit-0", "run.json")); err != nil {
		t.Fatal(err)
	}
	// One ends while nobody looks.
	kill(t, pids["unit-1"])

	second := h.open(nil)
	wait.Eventually(t, 5*time.Second, func() error {
		for id, pid := range pids {
			v, _ := second.Get(id)
			if v.Phase != supervisor.PhaseRunning {
				return fmt.Errorf("%s is %s", id, v.Phase)
			}
			if same := v.Process.PID == pid; same == (id == "unit-1") {
				return fmt.Errorf("%s has process %d, had %d", id, v.Process.PID, pid)
			}
		}
		return nil
	})
	if err := second.Delete(t.Context(), "unit-0"); err != nil || alive(pids["unit-0"]) {
		t.Errorf("delete of an adopted unit: %v, alive %v", err, alive(pids["unit-0"]))
	}
}

func TestAdoptedProcessThatEndsIsRestarted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.open(nil)
	pid := first.mustCreate(t, "one", "run").Process.PID
	first.end()
	second := h.open(nil)
	kill(t, pid)
	wait.Eventually(t, 5*time.Second, func() error {
		if v, _ := second.Get("one"); v.Phase != supervisor.PhaseRunning || v.Process.PID == pid {
			return fmt.Errorf("phase %s, pid %d", v.Phase, v.Process.PID)
		}
		return nil
	})
}

func TestDeletionThatWasCommittedIsFinished(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.open(nil)
	v := first.mustCreate(t, "one", "run")
	first.end()
	record := filepath.Join(h.units(), "one", "record.json")
	text, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	absent := strings.Replace(string(text), `"desired": "running"`, `"desired": "absent"`, 1)
	if err := os.WriteFile(record, []byte(absent), 0o600); err != nil {
		t.Fatal(err)
	}
	h.open(nil)
	wait.Eventually(t, 5*time.Second, func() error {
		if alive(v.Process.PID) || exists(filepath.Join(h.units(), "one")) {
			return errors.New("process or files are left")
		}
		return nil
	})
}

func TestInterruptedCreateAndRemoveAreSwept(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, left := range []string{".new-abc", ".trash-one-def"} {
		if err := os.MkdirAll(filepath.Join(h.units(), left, "conf"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h.open(nil)
	if left, _ := os.ReadDir(h.units()); len(left) != 0 {
		t.Errorf("still there: %v", left)
	}
}

func TestUnreadableRecordIsQuarantined(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"empty": "", "garbage": "\x00\x00\xff", "other schema": `{"schema": 99, "id": "torn"}`, "another's": `{"schema": 1, "id": "whole", "uid": "u", "revision": 1}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			first := h.open(nil)
			torn := first.mustCreate(t, "torn", "run")
			whole := first.mustCreate(t, "whole", "run")
			first.end()
			record := filepath.Join(h.units(), "torn", "record.json")
			if err := os.WriteFile(record, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			second := h.open(nil)
			if second.Quarantined()["torn"] == nil {
				t.Error("the record is not quarantined")
			}
			if _, err := second.Create(t.Context(), "torn", supervisor.Draft[extra]{}); !errors.Is(err, supervisor.ErrQuarantined) {
				t.Errorf("create under its name: %v, want ErrQuarantined", err)
			}
			if !alive(torn.Process.PID) {
				t.Error("its process was stopped")
			}
			if got, err := os.ReadFile(record); err != nil || string(got) != text {
				t.Errorf("its record was touched: %q %v", got, err)
			}
			if v, _ := second.Get("whole"); v.Process.PID != whole.Process.PID {
				t.Errorf("the other unit has process %d, had %d", v.Process.PID, whole.Process.PID)
			}
		})
	}
}

// lose moves the directories of units away under their running processes.
func (h *house) lose(ids ...string) {
	h.t.Helper()
	for _, id := range ids {
		if err := os.Rename(filepath.Join(h.units(), id), filepath.Join(h.t.TempDir(), id)); err != nil {
			h.t.Fatal(err)
		}
	}
}

func TestProcessWithoutARecordIsStopped(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.open(nil)
	stranger, removed, kept := first.mustCreate(t, "stranger", "run"), first.mustCreate(t, "removed", "run"), first.mustCreate(t, "kept", "run")
	first.end()
	h.lose("stranger")
	if err := os.RemoveAll(filepath.Join(h.units(), "removed")); err != nil {
		t.Fatal(err)
	}
	second := h.open(nil)
	if alive(stranger.Process.PID) || alive(removed.Process.PID) {
		t.Error("processes that no record wants run on")
	}
	if v, err := second.Get("kept"); err != nil || v.Process.PID != kept.Process.PID || second.Alarm() != nil {
		t.Errorf("the unit with a record: %v, pid %d, had %d; alarm %v", err, v.Process.PID, kept.Process.PID, second.Alarm())
	}
}

// TestLostRecordsStopNothing loses every record, or most: the records are more likely wrong than the processes.
func TestLostRecordsStopNothing(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]int{"all": 2, "most": 12} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			first := h.open(nil)
			var ids []string
			pids := map[string]int{}
			for i := range lost {
				id := fmt.Sprint("unit-", i)
				ids, pids[id] = append(ids, id), first.mustCreate(t, id, "run").Process.PID
			}
			if name == "most" {
				first.mustCreate(t, "kept", "run")
			}
			first.end()
			h.lose(ids...)
			second := h.open(nil)
			if second.Alarm() == nil {
				t.Error("no alarm")
			}
			for id, pid := range pids {
				if !alive(pid) {
					t.Errorf("the process of %s was stopped", id)
				}
			}
		})
	}
}

func TestStrangerByHandIsNotOurs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.open(nil)
	v := first.mustCreate(t, "one", "run")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A person runs the engine on the unit's config: the same command line, but not the lock.
	byHand := exec.CommandContext(t.Context(), program, "-s", filepath.Join(h.units(), "one", "conf", "fake.toml"))
	byHand.Env = []string{"FAKE_ENGINE=1", "GORACE=atexit_sleep_ms=0"}
	says, err := byHand.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := byHand.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := says.Read(make([]byte, 1)); err != nil { // it runs, and has read its config
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(byHand.Process.Kill(), byHand.Wait()) }()
	first.end()
	second := h.open(nil)
	if got, err := second.Get("one"); err != nil || got.Process.PID != v.Process.PID {
		t.Errorf("adopted %d, want %d (%v)", got.Process.PID, v.Process.PID, err)
	}
	if err := second.Delete(t.Context(), "one"); err != nil || !alive(byHand.Process.Pid) {
		t.Errorf("delete: %v; the person's process lives: %v", err, alive(byHand.Process.Pid))
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
	s := newHouse(t).open(nil)
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

// TestConfigThatWasReplacedIsAppliedAfterAKill replaces a config file as a service does that is killed before it can see
// whether the process took it.
func TestConfigThatWasReplacedIsAppliedAfterAKill(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.open(nil)
	first.mustCreate(t, "one", "run")
	first.end()
	record := filepath.Join(h.units(), "one", "record.json")
	text, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	var rec supervisor.Record[extra]
	if err := json.Unmarshal(text, &rec); err != nil {
		t.Fatal(err)
	}
	pid := runOf(t, h, "one")
	rec.Config, rec.Revision, rec.UpdatedAt = "run faster", 2, time.Now()
	if text, err = json.Marshal(rec); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{record: string(text), filepath.Join(h.units(), "one", "conf", "fake.toml"): rec.Config} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	second := h.open(nil)
	wait.Eventually(t, 5*time.Second, func() error {
		v, err := second.Get("one")
		if err == nil && (v.Applied != 2 || v.Process.PID == pid) {
			err = fmt.Errorf("applied %d by process %d, had %d", v.Applied, v.Process.PID, pid)
		}
		return err
	})
}

func runOf(t *testing.T, h *house, id string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.units(), id, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	var run struct{ PID int }
	if err := json.Unmarshal(text, &run); err != nil {
		t.Fatal(err)
	}
	return run.PID
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

func TestSecondServiceIsRefused(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	lock, err := supervisor.LockState(state)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := supervisor.LockState(state); err == nil || !strings.Contains(err.Error(), "already runs") {
		t.Errorf("second lock: %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the refusal took %s", took)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := supervisor.LockState(state)
	if err != nil {
		t.Fatalf("lock after the first is gone: %v", err)
	}
	_ = again.Close()
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
