package supervisor

import (
	"context"
	"fmt"
	"time"
)

// strangersAllowed is how many processes without a record may be stopped at start-up whatever their share. Above it, and
// above a tenth of all, the records are more likely lost than the processes wrong: containerd once deleted its users' live
// data after a power cut had taken the metadata.
const strangersAllowed = 10

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
	for _, p := range processes {
		if p.Exit != nil {
			continue
		}
		switch u, bad := s.units[p.ID], s.quarantined[p.ID]; {
		case u != nil:
			u.adopted(p)
			s.cfg.Log.Info("adopted", "id", p.ID, "pid", p.PID)
			s.tell(ctx, EventAdopted, p.ID, "", "process %d, which an earlier run had started", p.PID)
		case bad != nil:
			s.cfg.Log.Warn("process of an unreadable record left alone", "id", p.ID, "pid", p.PID)
		default:
			strangers = append(strangers, p)
		}
	}
	s.dismiss(ctx, strangers, len(processes))
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
		s.units[found.ID] = newUnit(rec, found.Hints)
	}
}

// dismiss stops the processes that no record wants, unless there are so many that losing the records explains it better.
func (s *Supervisor[S]) dismiss(ctx context.Context, strangers []Process, running int) {
	if len(strangers) == 0 {
		return
	}
	lost := len(s.units) == 0 && len(s.quarantined) == 0
	many := len(strangers) > strangersAllowed && len(strangers)*10 > running
	if lost || many {
		s.mu.Lock()
		s.alarm = fmt.Errorf("%d of %d running engines have no record: is the state directory the right one? None of them is touched",
			len(strangers), running)
		s.mu.Unlock()
		s.cfg.Log.Error("engines without records", "strangers", len(strangers), "running", running, "error", s.alarm)
		s.tell(ctx, EventAlarm, "", "engines_without_records", "%s", s.alarm)
		return
	}
	for _, p := range strangers {
		s.cfg.Log.Warn("stopping an engine that no record wants", "id", p.ID, "pid", p.PID)
		if err := s.cfg.Backend.Stop(ctx, p.ID); err != nil {
			s.cfg.Log.Error("stop stranger", "id", p.ID, "pid", p.PID, "error", err)
			continue
		}
		s.tell(ctx, EventDismissed, p.ID, "no_record", "process %d was stopped: no record wants it", p.PID)
		if err := s.cfg.Backend.Clean(p.ID); err != nil {
			s.cfg.Log.Error("remove a stranger's logs", "id", p.ID, "error", err)
		}
	}
}
