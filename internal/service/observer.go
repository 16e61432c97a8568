package service

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor/process"
)

const (
	// allPeriod is how often every unit is looked at, and somePeriod how often those are that somebody waits for: it is what
	// a waiting caller learns of a change too late, at most.
	allPeriod  = time.Second
	somePeriod = 20 * time.Millisecond
	// A look is followed by a pause of so many times the processor time that it took. All looks together so stay below a quarter of 1 % of a core, and below
	// a tenth of one while somebody waits, however many sockets there are.
	allShare  = 400
	someShare = 9
	// maxPeriod bounds the pause all the same: a client that falls silent is missed after 12 s, and told of within 20. What
	// the kernel tells of (sockets that end) is looked at at once, and what an engine's log hints at soon, however many there are.
	maxPeriod = 7 * time.Second
	// pokePause is how long after something happened to a unit it is looked at: when a process starts, much happens within this
	// time, its connection too, and what is worse from the start on has lasted by then. One look does for all of it. Who asks
	// for a unit's status, or waits for it, has it earlier.
	pokePause = settle + 50*time.Millisecond
	// missedPeriod is what it is when the kernel had more to tell than it could keep.
	missedPeriod = 2 * time.Second
)

// Observed is what was seen of a unit at one moment.
type Observed struct {
	Status     api.Status
	Conditions []api.Condition // with the times of their changes, as far as this process saw
	// RTT is the smallest smoothed round-trip time of the unit's control channels; 0 if there is none.
	RTT time.Duration
}

// Eye says how closely a unit is looked at.
type Eye struct {
	Stopped bool // its process was found stopped by a signal or a debugger
	Explain bool // the messages are read by somebody, and may cost something
}

// Assess derives what is to be said of a unit. It belongs to one look at the kernel.
type Assess[S any] func(v supervisor.View[S], eye Eye) Observed

// Look asks the kernel about the sockets of these units, once for all of them.
type Look[S any] func(ctx context.Context, views []supervisor.View[S]) (Assess[S], error)

// ObserverConfig is what an Observer works with; all of it but Looked is required.
type ObserverConfig[S any] struct {
	List func() []supervisor.View[S]
	Get  func(id string) (supervisor.View[S], error)
	Look Look[S]
	// Tell is told of changes, as events.
	Tell func(api.Event)
	Log  *slog.Logger
	// Looked is told how long each look of Run's took, at all units or at some.
	Looked func(all bool, took time.Duration)
}

// Observer looks at units from outside, through the kernel: at all of them from time to time, at once at those that are
// asked for, and often at those that somebody waits for. It remembers when each condition last changed and tells of changes.
type Observer[S any] struct {
	cfg  ObserverConfig[S]
	wake chan struct{}
	miss chan struct{}

	mu      sync.Mutex
	units   map[string]*sighting
	waiters map[*waiter[S]]struct{}
	due     map[string]time.Time // units that deserve a look before the next one at all
}

type waiter[S any] struct {
	id   string
	want api.Status
	done chan answer[S] // takes one
}

type answer[S any] struct {
	view supervisor.View[S]
	seen Observed
	err  error
}

// NewObserver returns an observer that answers Show; the rest begins with Run.
func NewObserver[S any](cfg ObserverConfig[S]) *Observer[S] {
	if cfg.Looked == nil {
		cfg.Looked = func(bool, time.Duration) {}
	}
	return &Observer[S]{
		cfg: cfg, wake: make(chan struct{}, 1), miss: make(chan struct{}, 1),
		units: map[string]*sighting{}, waiters: map[*waiter[S]]struct{}{}, due: map[string]time.Time{},
	}
}

// Show looks at units now.
func (o *Observer[S]) Show(ctx context.Context, views ...supervisor.View[S]) ([]Observed, error) {
	return o.ShowBy(ctx, o.cfg.Look, views...)
}

// ShowBy is Show by another look.
func (o *Observer[S]) ShowBy(ctx context.Context, look Look[S], views ...supervisor.View[S]) ([]Observed, error) {
	taken := time.Now()
	assess, err := look(ctx, views)
	if err != nil {
		return nil, err
	}
	seen := make([]Observed, len(views))
	for i, v := range views {
		seen[i] = o.record(v, taken, assess, Eye{Stopped: stopped(v), Explain: true})
	}
	return seen, nil
}

// Conditions looks at one unit now.
func (o *Observer[S]) Conditions(ctx context.Context, v supervisor.View[S]) ([]api.Condition, error) {
	seen, err := o.Show(ctx, v)
	if err != nil {
		return nil, fmt.Errorf("read the sockets: %w", err)
	}
	return seen[0].Conditions, nil
}

// Seen is what the newest looks at units have found, without another one: a look at a thousand units costs more than a caller
// that comes again and again should. It is as old as the pause between looks at most. What was not looked at yet is now.
func (o *Observer[S]) Seen(ctx context.Context, views ...supervisor.View[S]) ([]Observed, error) {
	seen := make([]Observed, len(views))
	var (
		unseen []supervisor.View[S]
		places []int
	)
	o.mu.Lock()
	for i, v := range views {
		if s := o.units[v.Record.ID]; s != nil && s.uid == v.Record.UID {
			seen[i] = s.seen
			continue
		}
		unseen, places = append(unseen, v), append(places, i)
	}
	o.mu.Unlock()
	if len(unseen) == 0 {
		return seen, nil
	}
	now, err := o.Show(ctx, unseen...)
	if err != nil {
		return nil, err
	}
	for i, place := range places {
		seen[place] = now[i]
	}
	return seen, nil
}

// Linked tells whether the newest look at a unit found it connected to its other half.
func (o *Observer[S]) Linked(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.units[id]
	return s != nil && slices.ContainsFunc(s.seen.Conditions, func(c api.Condition) bool {
		return (c.Type == api.ClientConnected || c.Type == api.Connected) && c.Status == api.True
	})
}

// Await answers once a unit has a status; with what it is when the time is over or the service drains; and at once if no
// status is wanted. All who wait share one look.
func (o *Observer[S]) Await(ctx context.Context, id string, want api.Status, timeout time.Duration, draining <-chan struct{}) (supervisor.View[S], Observed, error) {
	if want != "" {
		w := &waiter[S]{id: id, want: want, done: make(chan answer[S], 1)}
		o.mu.Lock()
		o.waiters[w] = struct{}{}
		o.mu.Unlock()
		o.nudge()
		defer func() {
			o.mu.Lock()
			delete(o.waiters, w)
			o.mu.Unlock()
		}()
		deadline := time.NewTimer(timeout)
		defer deadline.Stop()
		select {
		case a := <-w.done:
			return a.view, a.seen, a.err
		case <-deadline.C:
		case <-draining:
		case <-ctx.Done():
			return supervisor.View[S]{}, Observed{}, ctx.Err()
		}
	}
	v, err := o.cfg.Get(id)
	if err != nil {
		return v, Observed{}, err
	}
	seen, err := o.Show(ctx, v)
	if err != nil {
		return v, Observed{}, err
	}
	return v, seen[0], nil
}

// Run looks until ctx ends.
func (o *Observer[S]) Run(ctx context.Context) {
	// So that a look's cost is its thread's: on a busy machine the time that passes is no measure.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	all, some := time.NewTimer(0), time.NewTimer(0)
	defer all.Stop()
	defer some.Stop()
	var (
		rested time.Time // when the next look at some may begin
		looked time.Time // when the last one at all ended
	)
	for {
		if next, needed := o.nextDue(); needed {
			some.Reset(max(time.Until(next), time.Until(rested)))
		} else {
			some.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-all.C:
			cost := o.lookAtAll(ctx)
			o.cfg.Looked(true, cost)
			looked = time.Now()
			all.Reset(min(max(allPeriod, cost*allShare), maxPeriod))
		case <-o.miss:
			all.Reset(max(0, time.Until(looked.Add(missedPeriod))))
		case <-some.C:
			begun := time.Now()
			cost := o.lookAtSome(ctx)
			o.cfg.Looked(false, cost)
			rested = begun.Add(max(somePeriod, cost*(1+someShare)))
		case <-o.wake:
		}
	}
}

// spent is the processor time that this thread has used.
func spent() time.Duration {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// lookAtAll looks at every unit and returns what that took.
func (o *Observer[S]) lookAtAll(ctx context.Context) time.Duration {
	taken, before := time.Now(), spent()
	views := o.cfg.List()
	o.keep(views, taken)
	if len(views) == 0 {
		return 0
	}
	assess, err := o.cfg.Look(ctx, views)
	if err != nil {
		o.complain(ctx, err)
		return spent() - before
	}
	for _, v := range views {
		// The supervisor asks /proc for all processes that are stopped, and pokes. One that was found stopped is asked for each
		// time, so that no two looks contradict each other.
		o.record(v, taken, assess, Eye{Stopped: o.wasStopped(v.Record.ID) && stopped(v)})
	}
	return spent() - before
}

// lookAtSome looks at the units that are due and at those that somebody waits for, and answers whom it can.
func (o *Observer[S]) lookAtSome(ctx context.Context) time.Duration {
	taken, before := time.Now(), spent()
	waiting := map[string][]*waiter[S]{}
	ids := map[string]struct{}{}
	o.mu.Lock()
	for w := range o.waiters {
		waiting[w.id] = append(waiting[w.id], w)
		ids[w.id] = struct{}{}
	}
	for id, at := range o.due {
		if !at.After(taken) {
			ids[id] = struct{}{}
			delete(o.due, id)
		}
	}
	o.mu.Unlock()
	var views []supervisor.View[S]
	for id := range ids {
		v, err := o.cfg.Get(id)
		if err == nil {
			views = append(views, v)
			continue
		}
		for _, w := range waiting[id] {
			o.answer(w, answer[S]{err: err})
		}
	}
	if len(views) == 0 {
		return spent() - before
	}
	assess, err := o.cfg.Look(ctx, views)
	if err != nil {
		o.complain(ctx, err)
		return spent() - before
	}
	for _, v := range views {
		eye := Eye{Stopped: stopped(v)}
		seen := o.record(v, taken, assess, eye)
		satisfied := slices.DeleteFunc(waiting[v.Record.ID], func(w *waiter[S]) bool { return w.want != seen.Status })
		if len(satisfied) == 0 {
			continue
		}
		eye.Explain = true
		explained := assess(v, eye)
		stamp(explained.Conditions, seen.Conditions)
		for _, w := range satisfied {
			o.answer(w, answer[S]{view: v, seen: explained})
		}
	}
	return spent() - before
}

// answer ends a waiter's wait, once.
func (o *Observer[S]) answer(w *waiter[S], a answer[S]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, waits := o.waiters[w]; waits {
		delete(o.waiters, w)
		w.done <- a
	}
}

func (o *Observer[S]) complain(ctx context.Context, err error) {
	if ctx.Err() == nil {
		o.cfg.Log.Error("read the sockets", "error", err)
	}
}

// Unseen is what can be said of a unit when the kernel's sockets could not be read: nothing of these conditions.
func Unseen[S any](v supervisor.View[S], why error, kinds ...string) Observed {
	seen := Observed{Status: api.StatusDown, Conditions: []api.Condition{ProcessRunning(v, Eye{Stopped: stopped(v), Explain: true})}}
	for _, kind := range kinds {
		seen.Conditions = append(seen.Conditions, api.Condition{Type: kind, Status: api.Unknown, Reason: "unknown", Message: why.Error()})
	}
	for i := range seen.Conditions {
		seen.Conditions[i].LastTransition = time.Now().UTC()
	}
	return seen
}

func stopped[S any](v supervisor.View[S]) bool {
	return v.Process.PID != 0 && v.Process.Exit == nil && process.Stopped(v.Process.PID)
}
