package supervisor_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/scale"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// decoy is a process that looks like a unit's in some ways and not in all. Any signal ends it, and its end tells which.
type decoy struct {
	kind  string
	cmd   *exec.Cmd
	ended chan struct{}
}

// decoyKind makes decoys: it completes a command that already has the unit's command line. dir is the unit's.
type decoyKind struct {
	count int
	dress func(d *decoys, cmd *exec.Cmd, id, dir string) error
}

func decoyKinds() map[string]decoyKind {
	kinds := map[string]decoyKind{
		"a person's own process": {40, func(*decoys, *exec.Cmd, string, string) error { return nil }},
		"the unit's lock open, and not taken": {40, func(d *decoys, cmd *exec.Cmd, _, dir string) error {
			return d.hold(cmd, filepath.Join(dir, "run.lock"), false)
		}},
		"another lock": {40, func(d *decoys, cmd *exec.Cmd, id, dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "run.lock"), nil, 0o600), d.hold(cmd, filepath.Join(d.elsewhere, id+".lock"), true))
		}},
		"another lock, and the unit's is gone": {4, func(d *decoys, cmd *exec.Cmd, id, _ string) error {
			return d.hold(cmd, filepath.Join(d.elsewhere, id, "other", "run.lock"), true)
		}},
		"one argument more": {20, func(d *decoys, cmd *exec.Cmd, id, dir string) error {
			cmd.Args = append(cmd.Args, "more")
			return d.hold(cmd, filepath.Join(dir, "run.lock"), false)
		}},
		"a path that begins like ours": {20, func(d *decoys, cmd *exec.Cmd, _, dir string) error {
			twin := strings.Replace(cmd.Args[2], d.units()+"/", d.units()+"-2/", 1)
			cmd.Args[2] = twin
			return errors.Join(os.MkdirAll(filepath.Dir(twin), 0o700), os.WriteFile(twin, []byte(d.script), 0o600), d.hold(cmd, filepath.Join(dir, "run.lock"), false))
		}},
	}
	if os.Geteuid() == 0 {
		// The very same names, in a container: there they are other files.
		kinds["in a container"] = decoyKind{4, func(d *decoys, cmd *exec.Cmd, id, _ string) error {
			theirs := filepath.Join(d.elsewhere, "units")
			script := filepath.Join(theirs, id, "conf", "fake.toml")
			cmd.Args = append([]string{"sh", "-c", `mount --bind "$0" "$1" && shift && exec "$@"`, theirs, d.units()}, cmd.Args...)
			cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
			return errors.Join(os.MkdirAll(filepath.Dir(script), 0o700), os.WriteFile(script, []byte(d.script), 0o600), d.hold(cmd, filepath.Join(theirs, id, "run.lock"), true))
		}}
	}
	return kinds
}

// decoys are all of a test.
type decoys struct {
	*crowd
	elsewhere string
	all       []*decoy // the nth one is dressed as the nth unit
}

// hold gives a decoy a file in the place of a unit's lock.
func (d *decoys) hold(cmd *exec.Cmd, path string, locked bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil && locked {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	cmd.ExtraFiles = []*os.File{f}
	return err
}

func (d *decoys) mustStart(id, kind string, k decoyKind) {
	d.t.Helper()
	dir := filepath.Join(d.units(), id)
	script := filepath.Join(dir, "conf", "fake.toml")
	cmd := exec.Command("/bin/sh", shellFlag, script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err := errors.Join(os.MkdirAll(filepath.Dir(script), 0o700), os.WriteFile(script, []byte(d.script), 0o600), k.dress(d, cmd, id, dir), cmd.Start())
	for _, f := range cmd.ExtraFiles {
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		d.t.Fatalf("%s: %v", kind, err)
	}
	one := &decoy{kind: kind, cmd: cmd, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // what it says is kept in cmd.ProcessState
		close(one.ended)
	}()
	d.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-one.ended
	})
	d.all = append(d.all, one)
}

// note writes what an earlier service might have left about a unit: a record, and the pid of a process that is a decoy now.
func (d *decoys) note(n int) error {
	rec := supervisor.Record[extra]{Schema: 1, ID: name(n), UID: "uid", Revision: 1, Desired: d.desired(n), Config: d.script}
	target := d.all[n%len(d.all)].cmd.Process.Pid
	run := map[string]any{"boot_id": "another boot", "pid": target, "start_ticks": 1, "started_at": time.Now()}
	if n%3 != 1 { // the pid is right, and so is all the rest
		boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			return err
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", target))
		if err != nil {
			return err
		}
		run["boot_id"], run["start_ticks"] = strings.TrimSpace(string(boot)), json.Number(strings.Fields(string(stat))[21])
	}
	record, err1 := json.Marshal(rec)
	hint, err2 := json.Marshal(run)
	dir := filepath.Join(d.units(), rec.ID)
	return errors.Join(err1, err2, os.MkdirAll(dir, 0o700),
		os.WriteFile(filepath.Join(dir, "record.json"), record, 0o600), os.WriteFile(filepath.Join(dir, "run.json"), hint, 0o600))
}

// desired is what the record of the nth unit wants: those that a decoy is dressed as are to run, to be stopped or to be
// removed, the others must not run.
func (d *decoys) desired(n int) supervisor.Desired {
	all := []supervisor.Desired{supervisor.Stopped, supervisor.Absent, supervisor.Running}
	if n >= len(d.all) {
		all = all[:2]
	}
	return all[n%len(all)]
}

// TestDecoysAreNotSignalled leaves thousands of records whose processes are gone, and whose pids other processes have now,
// some of which are dressed as units of ours; takes them all over, and removes them all.
func TestDecoysAreNotSignalled(t *testing.T) {
	t.Parallel()
	d := &decoys{crowd: newCrowd(t), elsewhere: t.TempDir()}
	// Processes that the records do not know, to see that a stranger who is ours is stopped indeed.
	first := d.open()
	strangers := map[string]int{}
	for _, id := range []string{"stranger-1", "stranger-2"} {
		strangers[id] = first.mustCreate(t, id, d.script).Process.PID
	}
	first.end()
	for id := range strangers {
		d.lose(id)
	}
	for kind, k := range decoyKinds() {
		for range k.count {
			d.mustStart(name(len(d.all)), kind, k)
		}
	}
	records := scale.Of(t, "FAULTS_DECOYS", 1000)
	for n := range records {
		if err := d.note(n); err != nil {
			t.Fatal(err)
		}
	}
	s := d.open()
	wait.Eventually(t, time.Minute, func() error { return d.settled(s, records) })
	var wg sync.WaitGroup
	for _, v := range s.List() {
		wg.Go(func() {
			if err := s.Delete(t.Context(), v.Record.ID); err != nil {
				t.Errorf("remove %s: %v", v.Record.ID, err)
			}
		})
	}
	wg.Wait()
	for id, pid := range strangers {
		if alive(pid) {
			t.Errorf("the process of %s, which no record wants, runs on", id)
		}
	}
	counts := map[string]int{}
	for _, one := range d.all {
		select {
		case <-one.ended:
			t.Errorf("%s (%s): %s", one.kind, strings.Join(one.cmd.Args, " "), one.cmd.ProcessState)
		default:
			counts[one.kind]++
		}
	}
	t.Logf("%d records; alive are, by kind: %v", records, counts)
}

// settled tells whether each unit is what its record wants, and none has taken a decoy for its process.
func (d *decoys) settled(s *shift, records int) error {
	pids := map[int]bool{}
	for _, one := range d.all {
		pids[one.cmd.Process.Pid] = true
	}
	views := s.List()
	for _, v := range views {
		want, ok := map[supervisor.Desired]supervisor.Phase{supervisor.Running: supervisor.PhaseRunning, supervisor.Stopped: supervisor.PhaseStopped}[v.Record.Desired]
		if !ok || v.Phase != want || pids[v.Process.PID] {
			return fmt.Errorf("%s is %s with process %d", v.Record.ID, v.Phase, v.Process.PID)
		}
	}
	left := 0
	for n := range records {
		if d.desired(n) != supervisor.Absent {
			left++
		}
	}
	if len(views) != left {
		return fmt.Errorf("%d units, expected %d", len(views), left)
	}
	return nil
}
