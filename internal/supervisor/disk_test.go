package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/again"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// TestConfigThatCannotBeWrittenEndsNothing changes a unit when the record can be written and the config cannot: the process
// that would have to be replaced serves on until it can.
func TestConfigThatCannotBeWrittenEndsNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.open(nil)
	pid := s.mustCreate(t, "one", "run").Process.PID
	obstacle := filepath.Join(h.units(), "one", "conf", ".next")
	if err := os.MkdirAll(filepath.Join(obstacle, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := s.Update(t.Context(), "one", 0, supervisor.Draft[extra]{Desired: supervisor.Running, Config: "run faster"})
	if err == nil || !alive(pid) {
		t.Errorf("update: %v; the process lives: %v", err, alive(pid))
	}
	if err := os.RemoveAll(obstacle); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 5*time.Second, func() error {
		v, err := s.Get("one")
		if err == nil && (v.Applied != 2 || v.Process.PID == pid || alive(pid)) {
			err = fmt.Errorf("applied %d by process %d, had %d", v.Applied, v.Process.PID, pid)
		}
		return err
	})
}

// TestLogThatCannotBeRemovedKeepsNothing removes a unit whose log somebody has replaced by a directory with something in it.
func TestLogThatCannotBeRemovedKeepsNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.open(nil)
	v := s.mustCreate(t, "one", "run")
	if err := errors.Join(os.Remove(v.Process.Log), os.MkdirAll(filepath.Join(v.Process.Log, "full"), 0o700)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Delete(ctx, "one"); err != nil || alive(v.Process.PID) || exists(filepath.Join(h.units(), "one")) {
		t.Errorf("delete: %v", err)
	}
}

// TestProcessIsRestartedOnADiskThatTakesNothing ends processes while the disk of the records is full, and while it is
// read-only: what they need is there already.
func TestProcessIsRestartedOnADiskThatTakesNothing(t *testing.T) {
	t.Parallel()
	if !again.In(t, "mounts", again.Circumstances{Mounts: true}) {
		return
	}
	h := newHouse(t)
	mount := func(target, kind string, flags uintptr, data string) {
		t.Helper()
		if err := unix.Mount(target, target, kind, flags, data); err != nil {
			t.Fatalf("mount %s: %v", target, err)
		}
	}
	detach := func() error { return unix.Unmount(h.units(), unix.MNT_DETACH) } // processes have files open on it
	t.Cleanup(func() {
		for detach() == nil { //nolint:revive // until no mount is left
		}
	})
	if err := os.Mkdir(h.units(), 0o711); err != nil {
		t.Fatal(err)
	}
	mount(h.units(), "tmpfs", 0, "size=256k")
	s := h.open(nil)
	pid := s.mustCreate(t, "one", "run").Process.PID
	mustComeBack := func() {
		t.Helper()
		before := pid
		kill(t, before)
		wait.Eventually(t, 5*time.Second, func() error {
			v, err := s.Get("one")
			if err == nil && (v.Phase != supervisor.PhaseRunning || v.Process.PID == before) {
				err = fmt.Errorf("%s: %w", v.Phase, v.Failure)
			}
			pid = v.Process.PID
			return err
		})
	}
	full := filepath.Join(h.units(), "full")
	fill(t, full)
	mustComeBack()
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	mount(h.units(), "", unix.MS_BIND, "")
	mount(h.units(), "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	mustComeBack()
	if _, err := s.Create(t.Context(), "two", supervisor.Draft[extra]{Desired: supervisor.Running, Config: "run"}); err == nil {
		t.Error("a unit without a record")
	}
	if err := detach(); err != nil {
		t.Fatal(err)
	}
	s.mustCreate(t, "two", "run")
}

// fill writes a file until its disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for size := 1 << 20; size > 0; size /= 2 {
		for {
			_, err := f.Write(make([]byte, size))
			if errors.Is(err, unix.ENOSPC) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}
