package supervisor

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Phase is where a unit stands between its record and its process.
type Phase string

// The phases of a unit.
const (
	PhasePending  Phase = "pending"  // the record is committed, the process not yet started or changed
	PhaseStarting Phase = "starting" // the process runs and is not ready yet
	PhaseRunning  Phase = "running"  // the process runs and was ready once
	PhaseBackoff  Phase = "backoff"  // the process ended or could not be started; another try follows
	PhaseStopped  Phase = "stopped"  // the record wants no process, and there is none
	PhaseGone     Phase = "gone"     // process and record are removed
)

// View is a unit at one moment. Revision in Applied tells which record the process serves.
type View[S any] struct {
	Record  Record[S]
	Phase   Phase
	Applied int64     // revision of the record that the process serves; 0 = none
	Ran     int64     // revision that the last process was started with
	Process Process   // the last one; zero if there was none
	Since   time.Time // when Phase was entered
	// Failure is the last failure, nil once the process is ready. Attempts counts the failures in a row.
	Failure  *Failure
	Attempts int
	Tried    int64     // revision of the record that the last failed attempt was made with
	NextTry  time.Time // in PhaseBackoff
	// Hints are small facts of the owner's that outlive a restart of the service, such as when a client first connected.
	Hints map[string]string
	// Restarts counts the processes that this supervisor started in place of another one, also of one that it had adopted.
	Restarts int

	answered int // the last order for a new process that a start has answered, or is about to
}

// unit is the supervisor's memory of one record.
type unit[S any] struct {
	commit sync.Mutex // held by an operation from reading the record to having written the next one

	mu      sync.Mutex // guards what follows
	view    View[S]
	started int           // processes that this supervisor had: started, or adopted at first
	asked   int           // how often somebody ordered a new process
	changed chan struct{} // closed and replaced at each change of view
	changes *atomic.Int64 // counts those of all units
}

func newUnit[S any](rec Record[S], hints map[string]string, changes *atomic.Int64) *unit[S] {
	return &unit[S]{
		view:    View[S]{Record: rec, Phase: PhasePending, Since: time.Now(), Hints: hints},
		changed: make(chan struct{}), changes: changes,
	}
}

func (u *unit[S]) snapshot() (View[S], <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.view, u.changed
}

// change applies f and wakes all who wait for the unit.
func (u *unit[S]) change(f func(v *View[S])) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before := u.view.Phase
	f(&u.view)
	if u.view.Phase != before {
		u.view.Since = time.Now()
	}
	u.changes.Add(1)
	close(u.changed)
	u.changed = make(chan struct{})
}

// adopted notes a process that an earlier run left. Whether its config is the record's is for the reconciler to see.
func (u *unit[S]) adopted(p Process) {
	u.mu.Lock()
	u.started = max(u.started, 1)
	u.mu.Unlock()
	u.change(func(v *View[S]) {
		v.Process, v.Phase, v.Ran = p, PhaseStarting, v.Record.Revision
	})
}

// ask orders a new process, and returns the number of the order.
func (u *unit[S]) ask() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked++
	return u.asked
}

// isAsked tells whether a new process was ordered that no start since has answered.
func (u *unit[S]) isAsked() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.asked > u.view.answered
}

// answer begins a start, which answers all orders that came before it. One that comes while it goes on needs another.
func (u *unit[S]) answer() {
	u.change(func(v *View[S]) { v.Phase, v.answered = PhasePending, u.asked })
}

// wait blocks until done says so of a view; until ctx ends; or until the supervisor has ended: ErrNotReady. It returns the
// last view in all cases.
func (u *unit[S]) wait(ctx context.Context, ended <-chan struct{}, done func(View[S]) bool) (View[S], error) {
	for {
		v, changed := u.snapshot()
		if done(v) {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return v, ctx.Err()
		case <-ended:
			return v, ErrNotReady
		}
	}
}
