package supervisor

import (
	"context"
	"fmt"
	"time"
)

// TakeOver is what the start of a supervisor took over from an earlier run.
type TakeOver struct {
	Adopted int           // processes that were running
	Took    time.Duration // from the start of Run until Ready, with all that was in the way
}

// TakenOver returns what the start took over; false until Ready.
func (s *Supervisor[S]) TakenOver() (TakeOver, bool) {
	if !s.IsReady() {
		return TakeOver{}, false
	}
	return s.taken, true
}

// takeOverAtLast is takeOver, again and again as long as a limit of the machine is in its way: ending the service for it
// would mend nothing.
func (s *Supervisor[S]) takeOverAtLast(ctx context.Context) error {
	for failures := 0; ; failures++ {
		err := s.takeOver(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		f := asFailure("", err, 0)
		if f.Reason == "" {
			return err
		}
		pause := s.pause(failures)
		s.cfg.Log.Error("cannot take over yet", "reason", f.Reason, "message", f.Message, "error", err, "next_try", pause.Round(time.Millisecond))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// takeOver makes memory equal to the disk and to what runs. It starts nothing itself.
func (s *Supervisor[S]) takeOver(ctx context.Context) error {
	stored, err := s.cfg.Store.Load(ctx)
	if err != nil {
		return err
	}
	s.load(ctx, stored)
	s.cfg.Crash("takeover.loaded")
	processes, err := s.cfg.Backend.List(ctx)
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	var strangers []Process
	s.taken.Adopted = 0
	for _, p := range processes {
		if p.Exit != nil {
			continue
		}
		switch u, bad := s.units[p.ID], s.quarantined[p.ID]; {
		case u != nil:
			u.adopted(p)
			s.taken.Adopted++
			s.cfg.Log.Info("adopted", "id", p.ID, "pid", p.PID)
			s.tell(ctx, EventAdopted, p.ID, "", "process %d, which an earlier run had started", p.PID)
		case bad != nil:
			s.cfg.Log.Warn("process of an unreadable record left alone", "id", p.ID, "pid", p.PID)
		default:
			strangers = append(strangers, p)
		}
	}
	s.sendAway(ctx, strangers, len(processes))
	for id := range s.units {
		s.queue.add(id)
	}
	return nil
}

func (s *Supervisor[S]) load(ctx context.Context, stored []Stored) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, found := range stored {
		rec, err := decode[S](found.ID, found.Text)
		if found.Err != nil {
			err = found.Err
		}
		if err != nil {
			s.quarantined[found.ID] = err
			s.cfg.Log.Error("record cannot be read: kept aside, its process and ports stay", "id", found.ID, "error", err)
			s.tell(ctx, EventQuarantined, found.ID, "unreadable_record", "the record cannot be read; it is kept aside, its process and ports stay")
			continue
		}
		s.units[found.ID] = newUnit(rec, found.Hints, &s.changes)
		s.changes.Add(1)
	}
}

// sendAway stops the processes that no record wants, unless there are so many that losing the records explains it better.
// What is left of them is kept in mind, and raises the alarm.
func (s *Supervisor[S]) sendAway(ctx context.Context, strangers []Process, running int) {
	s.mu.Lock()
	for _, p := range strangers {
		s.strangers[p.ID] = p
	}
	lost := RecordsLost(len(strangers), running, len(s.units)+len(s.quarantined))
	s.mu.Unlock()
	if lost {
		s.cfg.Log.Error("engines without records: none of them is touched", "strangers", len(strangers), "running", running, "error", s.Alarm())
		s.tell(ctx, EventAlarm, "", "engines_without_records", "%s", s.Alarm())
		return
	}
	for _, p := range strangers {
		_, _ = s.dismiss(ctx, p) // logged; it stays a stranger
	}
}
