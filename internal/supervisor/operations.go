package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
)

// undoTimeout bounds the removal of what a failed create has begun. What is not removed by then is removed later.
const undoTimeout = 30 * time.Second

// Draft is what the owner decides about a record; the supervisor adds the rest.
type Draft[S any] struct {
	Desired Desired
	Config  string
	Spec    S
}

// Create commits a new record and waits until its process is ready. An error means that nothing exists: a process that
// does not come up takes its record with it. If ctx ends first, the unit is removed as well.
func (s *Supervisor[S]) Create(ctx context.Context, id string, d Draft[S]) (View[S], error) {
	if err := s.Vacant(ctx, id); err != nil {
		return View[S]{}, err
	}
	uid, err := s.claim(id)
	if err != nil {
		return View[S]{}, err
	}
	defer s.unclaim(id)
	now := time.Now().UTC()
	rec := Record[S]{
		Schema: recordSchema, ID: id, UID: uuid.NewString(), Revision: 1,
		Desired: d.Desired, Config: d.Config, UnixUID: uid, Spec: d.Spec, CreatedAt: now, UpdatedAt: now,
	}
	text, err := encode(rec)
	if err != nil {
		return View[S]{}, err
	}
	if err := s.cfg.Store.Create(ctx, id, text); err != nil {
		return View[S]{}, err
	}
	s.cfg.Crash("create.committed")
	synced := make(chan error, 1)
	go func() { synced <- s.cfg.Store.Sync(ctx) }() // beside the start, which takes as long
	s.tell(ctx, EventCreated, id, "", "revision 1")
	u := newUnit(rec, nil, &s.changes)
	s.mu.Lock()
	s.units[id] = u
	s.changes.Add(1)
	s.mu.Unlock()
	s.queue.add(id)

	v, err := s.settle(ctx, u)
	if err = errors.Join(err, <-synced); err == nil {
		return v, nil
	}
	// The caller is told of an error, perhaps one of its own making; either way nothing may stay behind.
	undoing, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if undo := s.delete(undoing, id, func(error) bool { return true }); undo != nil && !errors.Is(undo, ErrNotFound) {
		return v, errors.Join(err, fmt.Errorf("remove what was begun: %w", undo))
	}
	return v, err
}

// Vacant returns nil when a unit may be created: neither a record nor a running process has its name. One that is being
// removed is waited for.
func (s *Supervisor[S]) Vacant(ctx context.Context, id string) error {
	u, err := s.unit(id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if v, _ := u.snapshot(); v.Record.Desired != Absent {
		return ErrExists
	}
	_, err = u.wait(ctx, s.ended, func(v View[S]) bool { return v.Phase == PhaseGone })
	return err
}

// Update commits the next revision of a record and waits until its process serves it. The present record
// must have the given revision, or ErrRevision is returned; 0 means whatever it has. Each call commits: whether anything
// differs is for the owner to see.
func (s *Supervisor[S]) Update(ctx context.Context, id string, revision int64, d Draft[S]) (View[S], error) {
	u, err := s.unit(id)
	if err != nil {
		return View[S]{}, err
	}
	err = s.commit(ctx, u, EventUpdated, func(rec *Record[S]) error {
		if revision != 0 && rec.Revision != revision {
			return ErrRevision
		}
		rec.Desired, rec.Config, rec.Spec = d.Desired, d.Config, d.Spec
		return nil
	})
	if err != nil {
		return View[S]{}, err
	}
	s.queue.add(id)
	return s.settle(ctx, u)
}

// Delete commits the end of a unit and waits until its process and files are gone. If ctx ends first, the removal goes on.
func (s *Supervisor[S]) Delete(ctx context.Context, id string) error {
	return s.delete(ctx, id, mayShrink)
}

// delete is Delete. regardless tells whether to remove the unit though its end could not be committed: then the rename that
// takes the record away is the commit point, and who is killed before it finds the unit as it was. For want of room on the
// disk nothing else would make any.
func (s *Supervisor[S]) delete(ctx context.Context, id string, regardless func(error) bool) error {
	u, err := s.unit(id)
	if err != nil {
		return err
	}
	v, _ := u.snapshot()
	if v.Record.Desired != Absent {
		err = s.commit(ctx, u, EventDeleted, func(rec *Record[S]) error {
			rec.Desired = Absent
			return nil
		})
	}
	if err != nil && !errors.Is(err, ErrNotFound) && regardless(err) {
		s.cfg.Log.Warn("removing without a record of it", "id", id, "error", err)
		s.doom(u)
		err = nil
	}
	if err != nil {
		return err
	}
	s.queue.add(id)
	_, err = u.wait(ctx, s.ended, func(v View[S]) bool { return v.Phase == PhaseGone })
	if err != nil {
		return fmt.Errorf("wait until %s is gone: %w", id, err)
	}
	return nil
}

// Restart replaces a unit's process by a new one and waits until it is ready.
func (s *Supervisor[S]) Restart(ctx context.Context, id string) (View[S], error) {
	return s.RestartFor(ctx, id, ReasonRequested, "a new process was asked for")
}

// RestartFor is Restart for a reason, in one word for programs and in words for people.
func (s *Supervisor[S]) RestartFor(ctx context.Context, id, reason, message string) (View[S], error) {
	u, err := s.unit(id)
	if err != nil {
		return View[S]{}, err
	}
	before, _ := u.snapshot()
	if before.Record.Desired == Absent {
		return before, ErrNotFound
	}
	if before.Record.Desired != Running {
		return before, &Failure{Reason: "disabled", Message: "it is disabled: nothing runs that could be restarted"}
	}
	s.tell(ctx, EventRestarting, id, reason, "%s", message)
	order := u.ask()
	s.queue.add(id)
	v, err := u.wait(ctx, s.ended, func(v View[S]) bool {
		return v.Phase == PhaseGone || v.answered >= order && (v.Phase == PhaseBackoff || v.Phase == PhaseRunning)
	})
	return v, outcome(v, err)
}

// Get returns a unit: ErrNotFound if there is none or it is being removed, ErrQuarantined if its record cannot be read,
// ErrStranger if there is no record but a process, ErrNotReady as long as nobody can tell.
func (s *Supervisor[S]) Get(id string) (View[S], error) {
	u, err := s.unit(id)
	if err != nil {
		return View[S]{}, err
	}
	v, _ := u.snapshot()
	if v.Record.Desired == Absent {
		return View[S]{}, ErrNotFound
	}
	return v, nil
}

// Has tells whether a record has this name, also one that cannot be read, or whose unit is being removed; or a process that
// no record wants.
func (s *Supervisor[S]) Has(id string) bool {
	_, err := s.unit(id)
	return !errors.Is(err, ErrNotFound)
}

// List returns every unit that has a record, also one that is being removed (its ports are not free yet), sorted by id. As
// long as no unit changes it is the same list, for it is asked for many times a second: whoever wants to change it clones it.
func (s *Supervisor[S]) List() []View[S] {
	s.listing.Lock()
	defer s.listing.Unlock()
	now := s.changes.Load() // first: what changes while the list is made makes the next one
	if s.listed != nil && s.listedAt == now {
		return s.listed
	}
	s.mu.Lock()
	units := make([]*unit[S], 0, len(s.units))
	for _, id := range slices.Sorted(maps.Keys(s.units)) { // a view has some hundred bytes to move about, a name a few
		units = append(units, s.units[id])
	}
	s.mu.Unlock()
	views := make([]View[S], len(units))
	for i, u := range units {
		views[i], _ = u.snapshot()
	}
	s.listed, s.listedAt = views, now
	return views
}

// SetHint keeps a small fact about a unit over a restart of the service. It is not made durable against a power cut.
func (s *Supervisor[S]) SetHint(ctx context.Context, id, name, value string) error {
	u, err := s.unit(id)
	if err != nil {
		return err
	}
	u.commit.Lock()
	defer u.commit.Unlock()
	v, _ := u.snapshot()
	if v.Record.Desired == Absent {
		return ErrNotFound // its directory goes, and another unit may get the name
	}
	if v.Hints[name] == value {
		return nil
	}
	hints := maps.Clone(v.Hints)
	if hints == nil {
		hints = map[string]string{}
	}
	hints[name] = value
	if err := s.cfg.Store.SetHints(ctx, id, hints); err != nil {
		return err
	}
	u.change(func(v *View[S]) { v.Hints = hints })
	return nil
}

// commit writes the next revision of a record: the store first, then memory. The event is told in between, before a worker
// can act on the revision.
func (s *Supervisor[S]) commit(ctx context.Context, u *unit[S], kind EventType, edit func(*Record[S]) error) error {
	u.commit.Lock()
	defer u.commit.Unlock()
	v, _ := u.snapshot()
	rec := v.Record
	if rec.Desired == Absent {
		return ErrNotFound
	}
	if err := edit(&rec); err != nil {
		return err
	}
	rec.Revision++
	rec.UpdatedAt = time.Now().UTC()
	text, err := encode(rec)
	if err != nil {
		return err
	}
	if err := s.cfg.Store.Replace(ctx, rec.ID, text); err != nil {
		return err
	}
	s.cfg.Crash("commit.done")
	s.tell(ctx, kind, rec.ID, "", "revision %d", rec.Revision)
	u.change(func(v *View[S]) {
		v.Record = rec
		v.Attempts, v.NextTry = 0, time.Time{} // new orders deserve a try at once
	})
	return nil
}

// doom orders a unit's removal in memory alone.
func (s *Supervisor[S]) doom(u *unit[S]) {
	u.commit.Lock()
	defer u.commit.Unlock()
	u.change(func(v *View[S]) {
		v.Record.Desired = Absent
		v.Attempts, v.NextTry = 0, time.Time{}
	})
}

// settle waits until the unit's process serves its newest record, or has failed to.
func (s *Supervisor[S]) settle(ctx context.Context, u *unit[S]) (View[S], error) {
	v, err := u.wait(ctx, s.ended, func(v View[S]) bool {
		switch v.Phase {
		case PhaseRunning, PhaseStopped:
			return v.Applied == v.Record.Revision
		case PhaseBackoff:
			return v.Tried == v.Record.Revision
		case PhaseGone:
			return true
		default:
			return false
		}
	})
	return v, outcome(v, err)
}

func outcome[S any](v View[S], err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("wait for %s: %w", v.Record.ID, err)
	case v.Phase == PhaseGone:
		return ErrNotFound
	case v.Phase == PhaseBackoff && v.Failure != nil:
		return v.Failure
	default:
		return nil
	}
}
