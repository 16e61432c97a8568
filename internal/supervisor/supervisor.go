package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// The errors of the operations, beside ErrExists.
var (
	// ErrNotReady: records are still being loaded and running processes adopted, or Run has ended.
	ErrNotReady = errors.New("the supervisor is not at work")
	// ErrNotFound: there is no such unit, or it is being removed.
	ErrNotFound = errors.New("no such unit")
	// ErrRevision: the record changed since the caller read it.
	ErrRevision = errors.New("record has another revision")
	// ErrQuarantined: a record of this name exists and cannot be read.
	ErrQuarantined = errors.New("the record of this unit cannot be read; it is kept aside for a person to look at")
	// ErrRunning: the unit's process lives already.
	ErrRunning = errors.New("process is running")
)

// Config is what a Supervisor works with. Store, Backend, Rules and Log are required.
type Config[S any] struct {
	Store   Store
	Backend Backend
	Rules   Rules[S]
	Log     *slog.Logger

	// Loaded, if not nil, is called once the records are loaded and running processes adopted, before any unit is touched:
	// what the owner derives from the records is complete before the first of them changes.
	Loaded func()
	// Gone, if not nil, is called when a unit's process, files and record are gone, before anybody is told.
	Gone func(id string)
	// Event, if not nil, is told what happens to the units. It is called from the middle of the work, by many goroutines at
	// once, and must return at once; the context is that of whoever ordered what happened, if somebody did.
	Event func(context.Context, Event)

	// Reconciled, if not nil, is told how long each pass over a unit took, the wait for its process included. It is called by
	// many goroutines at once.
	Reconciled func(took time.Duration)

	// Workers is how many units are started or stopped at once. Default 32: enough that a few sick ones do not hold up
	// the others, and few enough that a boot with thousands does not starve the engines that already serve.
	Workers int
	// StartTimeout is how long a process may take until it is ready. Default 5 s; rathole needs 3 ms.
	StartTimeout time.Duration
	// BackoffMin, BackoffMax and BackoffReset: the pause after an exit doubles from Min (1 s) to Max (60 s), with 20 %
	// jitter, and begins anew once a process has lived for Reset (60 s).
	BackoffMin, BackoffMax, BackoffReset time.Duration
	// FrozenAfter is how long a process may be stopped before it is replaced. Default 10 s: nobody else notices such a one,
	// not even its peer, and a person who only wants to look at it is done by then. Half of it is how often it is looked for.
	FrozenAfter time.Duration
	// UIDs are the unix users that the processes run as, one each. The zero range: this service's own for all.
	UIDs UIDRange
	// StopOnExit stops every process when Run returns; otherwise they go on and are adopted by the next run.
	StopOnExit bool
	// Crash, if not nil, is called at each named crash point. Only tests set it.
	Crash func(point string)
}

func (c *Config[S]) setDefaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.StartTimeout, 5*time.Second)
	set(&c.BackoffMin, time.Second)
	set(&c.BackoffMax, time.Minute)
	set(&c.BackoffReset, time.Minute)
	set(&c.FrozenAfter, 10*time.Second)
	if c.Workers == 0 {
		c.Workers = 32
	}
	if c.Crash == nil {
		c.Crash = func(string) {}
	}
	if c.Loaded == nil {
		c.Loaded = func() {}
	}
	if c.Gone == nil {
		c.Gone = func(string) {}
	}
	if c.Reconciled == nil {
		c.Reconciled = func(time.Duration) {}
	}
	if c.Event == nil {
		c.Event = func(context.Context, Event) {}
	}
}

// Supervisor holds the records and keeps the processes equal to them. Run must be called once.
type Supervisor[S any] struct {
	cfg   Config[S]
	queue *queue
	ready chan struct{} // closed once adoption is done
	ended chan struct{} // closed once no worker is left: nothing that is waited for will happen
	taken TakeOver      // written before ready is closed

	accepting sync.Mutex // held while strangers are being stopped at a person's word

	changes  atomic.Int64 // of any unit, and of which there are
	listing  sync.Mutex   // guards what follows
	listed   []View[S]    // the last list
	listedAt int64        // what changes was when that was begun

	mu          sync.Mutex
	units       map[string]*unit[S]
	quarantined map[string]error
	creating    map[string]int     // unix users of units whose first record is being written
	strangers   map[string]Process // processes that no record wants, when last looked for; some may have ended since
	dismissing  map[string]Process // strangers that are being stopped
}

// New returns a Supervisor that does nothing until Run.
func New[S any](cfg Config[S]) *Supervisor[S] {
	cfg.setDefaults()
	blocking := make(slots, BlockingCalls)
	cfg.Store, cfg.Backend = boundedStore{cfg.Store, blocking}, boundedBackend{cfg.Backend, blocking}
	return &Supervisor[S]{
		cfg:         cfg,
		queue:       newQueue(),
		ready:       make(chan struct{}),
		ended:       make(chan struct{}),
		units:       map[string]*unit[S]{},
		quarantined: map[string]error{},
		creating:    map[string]int{},
		strangers:   map[string]Process{},
		dismissing:  map[string]Process{},
	}
}

// Run loads the records, adopts what runs, and reconciles until ctx ends. It returns when every goroutine that it
// started is done; the processes go on unless StopOnExit is set.
func (s *Supervisor[S]) Run(ctx context.Context) error {
	begin := time.Now()
	if err := s.takeOverAtLast(ctx); err != nil {
		if ctx.Err() != nil {
			err = nil // told to end before it had begun
		}
		return errors.Join(err, s.cfg.Backend.Close())
	}
	s.cfg.Loaded()
	s.taken.Took = time.Since(begin)
	close(s.ready)

	var wg sync.WaitGroup
	// Workers finish what they have begun: an operation cut in half by our own exit would be repaired by the next run,
	// but not doing it at all is better.
	work := context.WithoutCancel(ctx)
	for range s.cfg.Workers {
		wg.Go(func() {
			for id, ok := s.queue.next(); ok; id, ok = s.queue.next() {
				begin := time.Now()
				s.reconcile(work, id)
				s.cfg.Reconciled(time.Since(begin))
				s.queue.done(id)
			}
		})
	}
	s.watch(ctx)
	s.queue.close()
	wg.Wait()
	close(s.ended)
	if s.cfg.StopOnExit {
		return s.stopAll(work)
	}
	return s.cfg.Backend.Close()
}

// How often the back end tidies up, and how often every unit is looked at without a hint: hints may be lost, the truth is
// not.
const (
	tidy   = 10 * time.Second
	resync = 30 * time.Second
)

// watch turns the back end's hints and the passing of time into work until ctx ends.
func (s *Supervisor[S]) watch(ctx context.Context) {
	tidyTick, syncTick, frozenTick := time.NewTicker(tidy), time.NewTicker(resync), time.NewTicker(s.cfg.FrozenAfter/2)
	defer tidyTick.Stop()
	defer syncTick.Stop()
	defer frozenTick.Stop()
	var frozen map[string]time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-s.cfg.Backend.Events():
			s.queue.add(id)
		case <-tidyTick.C:
			if err := s.cfg.Backend.Tidy(); err != nil {
				s.cfg.Log.Error("tidy up", "error", err)
			}
		case <-frozenTick.C:
			frozen = s.thaw(ctx, frozen)
		case <-syncTick.C:
			for _, v := range s.List() {
				s.queue.add(v.Record.ID)
			}
		}
	}
}

func (s *Supervisor[S]) stopAll(ctx context.Context) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for _, v := range s.List() {
		wg.Go(func() {
			if err := s.cfg.Backend.Stop(ctx, v.Record.ID); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("stop %s: %w", v.Record.ID, err))
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, s.cfg.Backend.Close())...)
}

// Ready is closed once records are loaded, running processes adopted, and the rest queued for a start.
func (s *Supervisor[S]) Ready() <-chan struct{} { return s.ready }

// IsReady tells whether Ready is closed.
func (s *Supervisor[S]) IsReady() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

// Quarantined returns the units whose records cannot be read, and why. Their files and processes are left alone.
func (s *Supervisor[S]) Quarantined() map[string]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]error, len(s.quarantined))
	for id, err := range s.quarantined {
		out[id] = err
	}
	return out
}

// atWork returns nil while orders are carried out.
func (s *Supervisor[S]) atWork() error {
	if !s.IsReady() {
		return ErrNotReady
	}
	select {
	case <-s.ended:
		return ErrNotReady // what is ordered now, nobody would carry out
	default:
		return nil
	}
}

func (s *Supervisor[S]) unit(id string) (*unit[S], error) {
	if err := s.atWork(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, bad := s.quarantined[id]; bad {
		return nil, ErrQuarantined
	}
	if u := s.units[id]; u != nil {
		return u, nil
	}
	if err := s.refuseStranger(id); err != nil {
		return nil, err
	}
	return nil, ErrNotFound
}
