package supervisor_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

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

// TestConfigThatWasNeverPutInPlaceIsSwept has a service killed between writing a config and renaming it: what it wrote holds
// secrets, and nobody would ever look at it again.
func TestConfigThatWasNeverPutInPlaceIsSwept(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.open(nil)
	for _, id := range []string{"runs", "rewritten"} {
		first.mustCreate(t, id, "reloadable")
	}
	first.end()
	left := func(id string) string { return filepath.Join(h.units(), id, "conf", ".next") }
	for _, id := range []string{"runs", "rewritten"} {
		if err := os.WriteFile(left(id), []byte("token"), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	second := h.open(nil)
	if _, err := os.Stat(left("runs")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after a start: %v", err)
	}
	// And one that is left while nobody looks does not keep the next config from being written.
	if err := os.WriteFile(left("rewritten"), []byte("token"), 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Update(t.Context(), "rewritten", 0, supervisor.Draft[extra]{Desired: supervisor.Running, Config: "reloadable again"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(left("rewritten")), "fake.toml"))
	if err != nil || string(text) != "reloadable again" {
		t.Errorf("config %q %v", text, err)
	}
	if _, err := os.Stat(left("rewritten")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after a change: %v", err)
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
