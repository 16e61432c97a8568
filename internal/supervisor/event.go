package supervisor

import (
	"context"
	"fmt"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// EventType is what an Event tells, in one stable word.
type EventType string

// The types of events. Those of an operation (created, updated, deleted, and restarting with ReasonRequested) are told with
// the context of whoever ordered it.
const (
	EventCreated     EventType = "created"      // a record was committed
	EventUpdated     EventType = "updated"      // the next revision of a record was committed
	EventDeleted     EventType = "deleted"      // the end of a unit was committed
	EventRemoved     EventType = "removed"      // nothing of a unit is left
	EventStarted     EventType = "started"      // a process was started
	EventReady       EventType = "ready"        // a process that was started serves
	EventAdopted     EventType = "adopted"      // a process of an earlier run was taken over
	EventReloaded    EventType = "reloaded"     // a running process took its new config
	EventRestarting  EventType = "restarting"   // a running process is about to be replaced; the reason says why
	EventExited      EventType = "exited"       // a process ended unasked; the reason says why
	EventStartFailed EventType = "start_failed" // no process could be started, or it did not become ready
	EventStopFailed  EventType = "stop_failed"  // a process could not be stopped, or its files not be removed
	EventStopped     EventType = "stopped"      // a process was stopped because its record wants none
	EventFrozen      EventType = "frozen"       // a process was found stopped by a signal or a debugger
	EventDismissed   EventType = "dismissed"    // a process that no record wants was stopped
	EventQuarantined EventType = "quarantined"  // a record cannot be read
	EventAlarm       EventType = "alarm"        // so many processes have no record that none of them is touched
)

// The supervisor's own reasons of EventRestarting; RestartFor adds its caller's.
const (
	ReasonRequested = api.RestartRequested // somebody asked for it
	ReasonFrozen    = api.RestartFrozen    // the process stayed stopped
	ReasonNewConfig = api.RestartNewConfig // the process did not take its new config while running
)

// Event is something that happened to a unit. It is told before anybody who waits for it is woken.
type Event struct {
	ID      string // the unit's; empty for what concerns them all
	Type    EventType
	Reason  string // for programs; may be empty
	Message string // for people; may be empty
}

func (s *Supervisor[S]) tell(ctx context.Context, kind EventType, id, reason, format string, args ...any) {
	s.cfg.Event(ctx, Event{ID: id, Type: kind, Reason: reason, Message: fmt.Sprintf(format, args...)})
}

// tellFailure tells of a failure, but not of the same one again and again: a unit that cannot be started for a week has
// one thing to say. The end of a process is news each time.
func (s *Supervisor[S]) tellFailure(ctx context.Context, u *unit[S], id string, kind EventType, f *Failure) {
	v, _ := u.snapshot()
	if kind != EventExited && v.Attempts > 0 && v.Failure != nil && *v.Failure == *f {
		return
	}
	s.tell(ctx, kind, id, f.Reason, "%s", f.Message)
}
