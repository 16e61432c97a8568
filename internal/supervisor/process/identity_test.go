package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/again"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/scale"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// home is a directory of units whose engine is the shell, with the config as its script. Any signal ends it.
type home struct {
	Config

	script string // waits for ever
}

func newHome(t *testing.T) *home {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // units with a user of their own reach their files
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	units, never := filepath.Join(dir, "units"), filepath.Join(dir, "never")
	if err := errors.Join(os.Mkdir(units, 0o711), syscall.Mkfifo(never, 0o644), os.Chmod(units, 0o711), os.Chmod(never, 0o644)); err != nil {
		t.Fatal(err)
	}
	return &home{Config{Units: units, Logs: filepath.Join(dir, "log"), Flag: "-e", ConfigName: "fake.sh"}, fmt.Sprintf("read line <'%s'\n", never)}
}

func (h *home) open(t *testing.T) *Backend {
	t.Helper()
	b, err := New(h.Config)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (h *home) mustStart(t *testing.T, b *Backend, id string, user int) int {
	t.Helper()
	dir := filepath.Join(h.Units, id)
	if err := errors.Join(os.MkdirAll(dir, 0o711), os.Chmod(dir, 0o711)); err != nil {
		t.Fatal(err)
	}
	p, err := b.Start(t.Context(), supervisor.Unit{ID: id, Program: "/bin/sh", Config: h.script, UnixUID: user})
	if err != nil {
		t.Fatal(err)
	}
	return p.PID
}

func (h *home) mustStop(t *testing.T, b *Backend, id string) {
	t.Helper()
	if err := b.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// byHand starts a person's own process on a unit's config. Where an engine has its lock it has some other file.
func (h *home) byHand(t *testing.T, id string, user int) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", h.Flag, filepath.Join(h.Units, id, configDir, h.ConfigName))
	if user != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{null}
	if err := errors.Join(cmd.Start(), null.Close()); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// mustBeUntouched ends a process that nobody else may have ended.
func mustBeUntouched(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if Stopped(cmd.Process.Pid) {
		t.Errorf("process %d is stopped", cmd.Process.Pid)
	}
	killed := cmd.Process.Signal(syscall.SIGHUP)
	_ = cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); killed != nil || status.Signal() != syscall.SIGHUP {
		t.Fatalf("process %d was touched: %s", cmd.Process.Pid, cmd.ProcessState)
	}
}

// TestReusedPID gives the pid of an ended engine to a person's process on the same config, again and again, and orders the
// unit to be stopped.
func TestReusedPID(t *testing.T) {
	t.Parallel()
	if !again.In(t, "pids", again.Circumstances{PIDs: true}) {
		return
	}
	rounds := scale.Of(t, "FAULTS_REUSED", 300)
	const id = "one"
	h := newHome(t)
	for n := range rounds {
		b := h.open(t)
		pid := h.mustStart(t, b, id, 0)
		adopted := n%2 == 0
		if adopted { // by a next service, which is not its parent
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b = h.open(t)
			// The kernel tells that a program runs before it shows the program's command line.
			wait.Eventually(t, 5*time.Second, func() error {
				if found, err := b.List(t.Context()); err != nil || len(found) != 1 || found[0].PID != pid {
					return fmt.Errorf("adopted: %v %w", found, err)
				}
				return nil
			})
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if adopted { // this test is its parent
			if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
				t.Fatal(err)
			}
		} else {
			wait.Eventually(t, 5*time.Second, func() error {
				if syscall.Kill(pid, 0) == nil {
					return errors.New("it is not reaped")
				}
				return nil
			})
		}
		other := h.mustGetPID(t, pid, id)
		if n%4 < 2 { // a service that starts now finds only the pid, and what was noted of it
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b = h.open(t)
			if found, err := b.List(t.Context()); err != nil || len(found) != 0 {
				t.Fatalf("taken over: %v %v", found, err)
			}
		}
		h.mustStop(t, b, id)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		mustBeUntouched(t, other)
	}
	t.Logf("%d rounds", rounds)
}

// mustGetPID starts a person's process with a pid that is free. The namespace is the test's own: only its runtime's threads
// can come between.
func (h *home) mustGetPID(t *testing.T, pid int, id string) *exec.Cmd {
	t.Helper()
	for range 100 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			t.Fatal(err)
		}
		cmd := h.byHand(t, id, 0)
		if cmd.Process.Pid == pid {
			return cmd
		}
		if err := errors.Join(cmd.Process.Kill(), discardState(cmd.Process.Wait())); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("process %d cannot be had", pid)
	return nil
}

// TestAdoptionWithoutLooking adopts processes that the service may not look into, beside a person's process on the same
// config under the same user.
func TestAdoptionWithoutLooking(t *testing.T) {
	t.Parallel()
	if !again.In(t, "ptrace", again.Circumstances{PIDs: true, Without: []int{unix.CAP_SYS_PTRACE}}) {
		return
	}
	const user, rounds = 250910, 5
	h := newHome(t)
	for n := range rounds {
		id := fmt.Sprint("unit-", n)
		b := h.open(t)
		pid := h.mustStart(t, b, id, user+n)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/fd/%d", pid, lockFD)); !errors.Is(err, unix.EACCES) {
			t.Fatalf("the test is void: what process %d has open is no secret (%v)", pid, err)
		}
		other := h.byHand(t, id, user+n)
		b = h.open(t)
		if found, err := b.List(t.Context()); err != nil || len(found) != 1 || found[0].PID != pid {
			t.Errorf("found are %v (%v), the engine is %d, the person's process %d", found, err, pid, other.Process.Pid)
		}
		h.mustStop(t, b, id)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		mustBeUntouched(t, other)
	}
}
