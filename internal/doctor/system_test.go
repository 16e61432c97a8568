package doctor_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/doctor"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// TestThisMachine asks the real one about a state directory before its first start and while a service holds it, and
// leaves it as it was.
func TestThisMachine(t *testing.T) {
	t.Parallel()
	sys, state := doctor.This(), filepath.Join(t.TempDir(), "state")
	_, s := healthy()
	s.State, s.Logs, s.Listen = state, filepath.Join(state, "log"), "127.0.0.1:0"
	for _, check := range []string{"state directory", "state directory's disk", "log directory's disk"} {
		if f := find(t, doctor.Common(t.Context(), sys, s), check); f.Status == doctor.Fail {
			t.Errorf("before: %+v", f)
		}
	}
	if _, err := os.Stat(state); err == nil {
		t.Error("doctor made the state directory")
	}
	lock, err := supervisor.LockState(state)
	if err != nil {
		t.Fatal(err)
	}
	held, err := sys.Locked(filepath.Join(state, "lock"))
	if err != nil || !held {
		t.Errorf("held: %t %v", held, err)
	}
	for _, f := range doctor.Common(t.Context(), sys, s) {
		if f.Check != "engine" && f.Status == doctor.Fail {
			t.Errorf("%+v", f)
		}
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if held, err := sys.Locked(filepath.Join(state, "lock")); err != nil || held {
		t.Errorf("given back: %t %v", held, err)
	}
	left, err := os.ReadDir(state)
	if err != nil || len(left) != 1 {
		t.Errorf("doctor left something behind: %v %v", left, err)
	}
}
