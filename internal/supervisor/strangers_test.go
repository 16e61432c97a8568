package supervisor_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// alarmed opens a supervisor on a house that lost the records of two units and kept none. It returns their processes.
func alarmed(t *testing.T) (*shift, map[string]int) {
	t.Helper()
	h := newHouse(t)
	first := h.open(nil)
	pids := map[string]int{}
	for _, id := range []string{"lost", "gone"} {
		pids[id] = first.mustCreate(t, id, "run").Process.PID
	}
	first.end()
	h.lose("lost", "gone")
	s := h.open(nil)
	if err := s.Alarm(); err == nil || !strings.Contains(err.Error(), "2 running engines have no record") {
		t.Fatalf("alarm: %v", err)
	}
	return s, pids
}

func TestAcceptStrangersStopsThemAlone(t *testing.T) {
	t.Parallel()
	s, pids := alarmed(t)
	kept := s.mustCreate(t, "kept", "run").Process.PID
	for _, id := range []string{"lost", "gone"} {
		_, create := s.Create(t.Context(), id, supervisor.Draft[extra]{Desired: supervisor.Running, Config: "run"})
		_, get := s.Get(id)
		for _, err := range []error{create, get, s.Vacant(t.Context(), id)} {
			if !errors.Is(err, supervisor.ErrStranger) || !strings.Contains(err.Error(), fmt.Sprint(pids[id])) {
				t.Errorf("%s while its engine runs: %v", id, err)
			}
		}
	}
	found, err := s.Strangers(t.Context())
	if err != nil || len(found) != 2 || found[0].ID != "gone" || found[1].PID != pids["lost"] {
		t.Fatalf("strangers: %v %+v", err, found)
	}
	if !alive(pids["lost"]) || !alive(pids["gone"]) {
		t.Fatal("looking stopped one")
	}
	stopped, failed, err := s.AcceptStrangers(t.Context())
	if err != nil || len(failed) != 0 || !slices.Equal(stopped, []string{"gone", "lost"}) {
		t.Errorf("accept: %v %v %v", stopped, failed, err)
	}
	if alive(pids["lost"]) || alive(pids["gone"]) || !alive(kept) {
		t.Error("it stopped too few, or too many")
	}
	if s.Alarm() != nil {
		t.Errorf("the alarm stays: %v", s.Alarm())
	}
	s.mustCreate(t, "lost", "run")
	if stopped, failed, err := s.AcceptStrangers(t.Context()); err != nil || len(stopped)+len(failed) != 0 {
		t.Errorf("once more: %v %v %v", stopped, failed, err)
	}
}

// TestStrangerThatEndedIsNone ends one by itself: its name is free, a new unit of that name is nobody's stranger, and the
// last one's end is the alarm's.
func TestStrangerThatEndedIsNone(t *testing.T) {
	t.Parallel()
	s, pids := alarmed(t)
	kill(t, pids["lost"])
	wait.Eventually(t, 5*time.Second, func() error { return s.Vacant(t.Context(), "lost") })
	again := s.mustCreate(t, "lost", "run").Process.PID
	kill(t, pids["gone"])
	wait.Eventually(t, 5*time.Second, s.Alarm) // nil once it is over
	if stopped, failed, err := s.AcceptStrangers(t.Context()); err != nil || len(stopped)+len(failed) != 0 || !alive(again) {
		t.Errorf("accept: %v %v %v, the unit's process lives: %t", stopped, failed, err, alive(again))
	}
}

// TestStrangersAreToldFromUnitsThatComeAndGo looks for strangers, and has them stopped, while units are made and removed.
func TestStrangersAreToldFromUnitsThatComeAndGo(t *testing.T) {
	t.Parallel()
	s := newHouse(t).open(nil)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for range 15 {
				id := fmt.Sprint("unit-", n)
				v, err := s.Create(t.Context(), id, supervisor.Draft[extra]{Desired: supervisor.Running, Config: "run"})
				if err != nil {
					t.Errorf("create %s: %v", id, err)
					return
				}
				if p, known := s.backend.Process(id); !known || p.PID != v.Process.PID || p.Adopted || p.Exit != nil {
					t.Errorf("%s has process %+v, was told %d", id, p, v.Process.PID)
				}
				if err := s.Delete(t.Context(), id); err != nil {
					t.Errorf("delete %s: %v", id, err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	for {
		if stopped, failed, err := s.AcceptStrangers(t.Context()); err != nil || len(stopped)+len(failed) != 0 {
			t.Errorf("strangers: %v %v %v", stopped, failed, err)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

func TestRecordsLost(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		strangers, running, records int
		lost                        bool
	}{
		{0, 0, 0, false},
		{0, 100, 100, false},
		{1, 1, 0, true},
		{1, 2, 1, false},
		{10, 11, 1, false},
		{11, 12, 1, true},
		{11, 110, 99, false},
		{11, 109, 98, true},
	} {
		if got := supervisor.RecordsLost(tc.strangers, tc.running, tc.records); got != tc.lost {
			t.Errorf("%+v: %t", tc, got)
		}
	}
}
