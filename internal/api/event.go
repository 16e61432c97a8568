package api

import "time"

// EventType is what an event tells, in one stable word. New ones may come; a caller leaves alone those it does not know.
type EventType string

// The types of events of both services. What a service or its caller does is told at once. What is seen from outside
// (connected and the following) is told when it is seen: better at once, worse once it has lasted for a quarter of a second,
// so that a reload, which breaks a channel for milliseconds, is no loss.
const (
	EventCreated     EventType = "created"      // the instance or client was accepted
	EventUpdated     EventType = "updated"      // its next revision was accepted
	EventDeleted     EventType = "deleted"      // its end was accepted
	EventRemoved     EventType = "removed"      // nothing of it is left: process, files and ports are gone
	EventStarted     EventType = "started"      // an engine was started
	EventReady       EventType = "ready"        // an engine that was started does its work
	EventAdopted     EventType = "adopted"      // an engine of an earlier run of the service was taken over
	EventReloaded    EventType = "reloaded"     // a running engine took its new config
	EventRestarting  EventType = "restarting"   // a running engine is about to be replaced; the reason is one of RestartReasons
	EventExited      EventType = "exited"       // an engine ended unasked; the reason is that of ProcessRunning
	EventStartFailed EventType = "start_failed" // no engine could be started, or it did not get ready; told once per cause
	EventStopFailed  EventType = "stop_failed"  // an engine could not be stopped, or its files not be removed
	EventStopped     EventType = "stopped"      // the engine was stopped because enabled is false
	EventFrozen      EventType = "frozen"       // the engine was found stopped by a signal or a debugger
	EventDismissed   EventType = "dismissed"    // an engine that no record wants was stopped
	EventQuarantined EventType = "quarantined"  // a record cannot be read; it is kept aside
	EventAlarm       EventType = "alarm"        // most engines have no record: none is touched, and a person is needed

	EventConnected        EventType = "connected"         // ClientConnected (instance) or Connected (client) became true
	EventClientLost       EventType = "client_lost"       // instance: ClientConnected became false
	EventServerLost       EventType = "server_lost"       // client: Connected became false
	EventPortStolen       EventType = "port_stolen"       // instance: another program has a public port
	EventLocalUnreachable EventType = "local_unreachable" // client: nothing listens where a service points
	EventLocalReachable   EventType = "local_reachable"   // client: something listens there again
	EventHealthy          EventType = "healthy"           // the status
	EventDegraded         EventType = "degraded"          // the status; the reason is that of the condition that is missing
	EventDown             EventType = "down"              // the status; likewise

	EventProbeFailed   EventType = "probe_failed"   // instance: GameReachable became false; the reason is that of the condition
	EventProbeAnswered EventType = "probe_answered" // instance: GameReachable is true again

	EventTwoClients    EventType = "two_clients"    // instance: two clients with one config push each other out
	EventEngineWarning EventType = "engine_warning" // the engine's log tells what no socket shows; the reason says what

	EventHealing          EventType = "healing"           // the service mends something on its own; the reason says what
	EventHealingExhausted EventType = "healing_exhausted" // it did so too often within an hour, and leaves it to a person

	// EventGap is no event but a hole: what lies before it and after the id that was asked for is no longer known.
	EventGap EventType = "gap"
)

// EventTypes lists all types, for filters.
func EventTypes() []EventType {
	return []EventType{
		EventCreated, EventUpdated, EventDeleted, EventRemoved, EventStarted, EventReady, EventAdopted, EventReloaded, EventRestarting,
		EventExited, EventStartFailed, EventStopFailed, EventStopped, EventFrozen, EventDismissed, EventQuarantined, EventAlarm,
		EventConnected, EventClientLost, EventServerLost, EventPortStolen, EventLocalUnreachable, EventLocalReachable,
		EventHealthy, EventDegraded, EventDown, EventProbeFailed, EventProbeAnswered, EventTwoClients, EventEngineWarning, EventHealing, EventHealingExhausted, EventGap,
	}
}

// Why a running engine is replaced: the reasons of EventRestarting.
const (
	RestartRequested      = "requested"       // somebody asked for it
	RestartNewConfig      = "new_config"      // it did not take its new config while running
	RestartFrozen         = "frozen"          // it stayed stopped by a signal or a debugger
	RestartEngineUpgrade  = "engine_upgrade"  // it gets another build of rathole
	RestartEngineRollback = "engine_rollback" // with that it was not as well as before, and it gets its old one back
	RestartStaleListener  = "stale_listener"  // instance: its client is gone, and it still accepts players
	RestartPortHeld       = "port_held"       // instance: what is left of a lost client keeps a public UDP port from the new one
	RestartConnectHangs   = "connect_hangs"   // client: the network is back, and its connect still waits
	RestartClientStuck    = "client_stuck"    // client: it lacks channels, and does not try to get them
	RestartServerMoved    = "server_moved"    // client: the server's name has another address
)

// RestartReasons lists the reasons of EventRestarting.
func RestartReasons() []string {
	return []string{
		RestartRequested, RestartNewConfig, RestartFrozen, RestartEngineUpgrade, RestartEngineRollback,
		RestartStaleListener, RestartPortHeld, RestartConnectHangs, RestartClientStuck, RestartServerMoved,
	}
}

// BySupervisor is an Event's By for what the service did on its own.
const BySupervisor = "supervisor"

// Event is something that happened to an instance or a client. It holds no secret.
type Event struct {
	ID       int64     `json:"id" doc:"Rises from event to event, also over restarts of the service; not without gaps."`
	Time     time.Time `json:"time"`
	ServerID string    `json:"server_id,omitempty" doc:"Absent for what concerns the whole service."`
	Type     EventType `json:"type" doc:"What happened, in one stable word."`
	Reason   string    `json:"reason,omitempty" doc:"Why, in one word for programs."`
	Message  string    `json:"message,omitempty" doc:"The same in a sentence for people."`
	By       string    `json:"by,omitempty" doc:"Who caused it: the address of a caller of this API, or supervisor; absent for what was only seen."`
}

// EventList is the body of GET /api/events and of GET …/{id}/events.
type EventList struct {
	Events []Event `json:"events" nullable:"false" doc:"Oldest first."`
	Next   int64   `json:"next" doc:"Pass as since= for what comes after these."`
}
