package supervisor

import (
	"context"
	"time"
)

// thaw replaces the processes that have been stopped for too long. since is what the last call returned: when each was first
// found stopped.
func (s *Supervisor[S]) thaw(ctx context.Context, since map[string]time.Time) map[string]time.Time {
	now := time.Now()
	frozen := map[string]time.Time{}
	for _, id := range s.cfg.Backend.Frozen() {
		first, known := since[id]
		if !known {
			first = now
			s.cfg.Log.Warn("engine is stopped", "id", id)
			s.tell(ctx, EventFrozen, id, "stopped", "the process is stopped by a signal (SIGSTOP) or a debugger")
		}
		if now.Sub(first) < s.cfg.FrozenAfter {
			frozen[id] = first
			continue
		}
		u, err := s.unit(id)
		if err != nil {
			continue // its record went meanwhile, or cannot be read
		}
		s.cfg.Log.Warn("replacing an engine that stays stopped", "id", id, "since", first)
		s.tell(ctx, EventRestarting, id, ReasonFrozen, "the process was stopped for %s", now.Sub(first).Round(time.Second))
		u.ask()
		s.queue.add(id)
	}
	return frozen
}
