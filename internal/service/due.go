package service

import "time"

// Poke has a unit looked at soon, because something happened to it.
func (o *Observer[S]) Poke(id string) {
	o.mu.Lock()
	o.dueBy(id, time.Now().Add(pokePause))
	o.mu.Unlock()
	o.nudge()
}

// Hint is Poke for what happened at some time, of which a look that began later knows.
func (o *Observer[S]) Hint(id string, at time.Time) {
	o.mu.Lock()
	s := o.units[id]
	known := s != nil && s.taken.After(at)
	o.mu.Unlock()
	if !known {
		o.Poke(id)
	}
}

// dueBy has a unit looked at by then at the latest. The caller has o.mu.
func (o *Observer[S]) dueBy(id string, at time.Time) {
	if due, is := o.due[id]; !is || at.Before(due) {
		o.due[id] = at
	}
}

func (o *Observer[S]) nudge() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// nextDue is when the next look at some units is due; false if no unit needs one.
func (o *Observer[S]) nextDue() (next time.Time, needed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiters) > 0 {
		return time.Time{}, true
	}
	for _, at := range o.due {
		if !needed || at.Before(next) {
			next, needed = at, true
		}
	}
	return next, needed
}

// Ended has units looked at again whose sockets may have ended: at once, but not again and again.
func (o *Observer[S]) Ended(ids ...string) {
	o.mu.Lock()
	for _, id := range ids {
		at := time.Time{}
		if s := o.units[id]; s != nil {
			at = s.taken.Add(settle)
		}
		o.dueBy(id, at)
	}
	o.mu.Unlock()
	o.nudge()
}

// Missed has all units looked at soon: sockets have ended, and nobody knows whose.
func (o *Observer[S]) Missed() {
	select {
	case o.miss <- struct{}{}:
	default:
	}
}
