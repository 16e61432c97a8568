package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// ErrStranger says that an engine of this name runs here and no record wants it. A second one beside it would fight it for its log
// and its players.
var ErrStranger = errors.New("an engine of this name runs, and no record wants it")

// strangersAllowed is how many processes without a record may be stopped at start-up whatever their share. Above it, and
// above a tenth of all, the records are more likely lost than the processes wrong: containerd once deleted its users' live
// data after a power cut had taken the metadata.
const strangersAllowed = 10

// RecordsLost tells whether a start finds so many processes without a record that the records are more likely lost than
// the processes wrong. It then stops none of them.
func RecordsLost(strangers, running, records int) bool {
	many := strangers > strangersAllowed && strangers*10 > running
	return strangers > 0 && (records == 0 || many)
}

// Alarm returns what keeps the supervisor from removing processes that no record wants, nil if nothing does. It ends when
// AcceptStrangers has stopped them, or when they have ended by themselves.
func (s *Supervisor[S]) Alarm() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, p := range s.strangers {
		if s.lives(p) {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	have := fmt.Sprintf("%d running engines have", n)
	if n == 1 {
		have = "1 running engine has"
	}
	return fmt.Errorf("%s no record: were records lost, or is this the wrong state directory? Nothing is touched until a person "+
		"decides: put the records back and restart the service, or stop the engines by reconcile --accept-strangers", have)
}

// Strangers looks at what runs now, and returns the processes that no record wants, sorted by id. A process whose record
// cannot be read is none of them.
func (s *Supervisor[S]) Strangers(ctx context.Context) ([]Process, error) {
	if err := s.atWork(); err != nil {
		return nil, err
	}
	processes, err := s.cfg.Backend.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strangers = map[string]Process{}
	var found []Process
	for _, p := range processes {
		// The list is a moment old: what it found of a unit that has been removed since is gone.
		if s.wanted(p.ID) || !s.lives(p) {
			continue
		}
		s.strangers[p.ID] = p
		found = append(found, p)
	}
	slices.SortFunc(found, func(a, b Process) int { return strings.Compare(a.ID, b.ID) })
	return found, nil
}

// AcceptStrangers is a person's word that the processes without a record are to be stopped. It stops those that Strangers
// finds at this moment, and returns their ids; failed says why some could not be.
func (s *Supervisor[S]) AcceptStrangers(ctx context.Context) (stopped []string, failed map[string]error, err error) {
	s.accepting.Lock()
	defer s.accepting.Unlock()
	found, err := s.Strangers(ctx)
	if err != nil {
		return nil, nil, err
	}
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex // guards the results
		workers = make(chan struct{}, s.cfg.Workers)
	)
	failed = map[string]error{}
	for _, p := range found {
		wg.Go(func() {
			workers <- struct{}{}
			defer func() { <-workers }()
			done, err := s.dismiss(ctx, p)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				failed[p.ID] = err
			case done:
				stopped = append(stopped, p.ID)
			}
		})
	}
	wg.Wait()
	slices.Sort(stopped)
	return stopped, failed, nil
}

// dismiss stops one process that no record wants, and removes its logs. done is false if it is no stranger any more.
func (s *Supervisor[S]) dismiss(ctx context.Context, p Process) (done bool, err error) {
	s.mu.Lock()
	if s.wanted(p.ID) || !s.lives(p) {
		delete(s.strangers, p.ID)
		s.mu.Unlock()
		return false, nil
	}
	// From here on no unit of this name can be created, so what is stopped by its name is this process.
	s.dismissing[p.ID] = p
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.dismissing, p.ID)
		if !s.lives(p) {
			delete(s.strangers, p.ID)
		}
	}()
	s.cfg.Log.Warn("stopping an engine that no record wants", "id", p.ID, "pid", p.PID)
	if err := s.cfg.Backend.Stop(ctx, p.ID); err != nil {
		s.cfg.Log.Error("stop stranger", "id", p.ID, "pid", p.PID, "error", err)
		return false, err
	}
	s.tell(ctx, EventDismissed, p.ID, "no_record", "process %d was stopped: no record wants it", p.PID)
	if err := s.cfg.Backend.Clean(p.ID); err != nil {
		s.cfg.Log.Error("remove a stranger's logs", "id", p.ID, "error", err)
	}
	return true, nil
}

// wanted tells whether a record has this name, or is about to. s.mu is held.
func (s *Supervisor[S]) wanted(id string) bool {
	_, creating := s.creating[id]
	return s.units[id] != nil || s.quarantined[id] != nil || creating
}

// lives tells whether a process that was found still runs.
func (s *Supervisor[S]) lives(p Process) bool {
	now, known := s.cfg.Backend.Process(p.ID)
	return known && now.PID == p.PID && now.Exit == nil
}

// refuseStranger keeps a name from being used while a stranger has it. s.mu is held.
func (s *Supervisor[S]) refuseStranger(id string) error {
	p, leaving := s.dismissing[id]
	if !leaving {
		var found bool
		if p, found = s.strangers[id]; !found || !s.lives(p) {
			return nil
		}
	}
	return fmt.Errorf("%w (process %d)", ErrStranger, p.PID)
}
