package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

type view = supervisor.View[struct{}]

// sky is a kernel that shows what the test says.
type sky struct {
	mu    sync.Mutex
	views map[string]view
	seen  map[string]Observed
	looks int
	told  []string // "id type(reason)"
	// asked is called whenever a unit is assessed, for its messages too.
	asked func(explain bool)
}

func newSky(t *testing.T, ids ...string) (*sky, *Observer[struct{}]) {
	t.Helper()
	s := &sky{views: map[string]view{}, seen: map[string]Observed{}, asked: func(bool) {}}
	for _, id := range ids {
		v := view{}
		v.Record.ID, v.Record.UID, v.Record.Desired = id, "uid of "+id, supervisor.Running
		s.views[id] = v
	}
	return s, NewObserver(ObserverConfig[struct{}]{
		List: func() []view {
			s.mu.Lock()
			defer s.mu.Unlock()
			var all []view
			for _, v := range s.views {
				all = append(all, v)
			}
			return all
		},
		Get: func(id string) (view, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			v, ok := s.views[id]
			if !ok {
				return v, supervisor.ErrNotFound
			}
			return v, nil
		},
		Look: func(context.Context, []view) (Assess[struct{}], error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.looks++
			return func(v view, eye Eye) Observed {
				s.asked(eye.Explain)
				s.mu.Lock()
				defer s.mu.Unlock()
				o := s.seen[v.Record.ID]
				o.Conditions = slices.Clone(o.Conditions)
				return o
			}, nil
		},
		Tell: func(e api.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			line := fmt.Sprintf("%s %s", e.ServerID, e.Type)
			if e.Reason != "" {
				line += "(" + e.Reason + ")"
			}
			s.told = append(s.told, line)
		},
		Log: wait.Logger(t),
	})
}

func (s *sky) show(id string, status api.Status, conditions ...api.Condition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[id] = Observed{Status: status, Conditions: conditions}
}

func (s *sky) counted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looks
}

func run(t *testing.T, o *Observer[struct{}]) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// TestWaitersShareOneLook has fifty callers wait for ten units: one look serves them all, and the first one after a change
// answers those whom it concerns.
func TestWaitersShareOneLook(t *testing.T) {
	t.Parallel()
	var ids []string
	for n := range 10 {
		ids = append(ids, fmt.Sprint(n))
	}
	s, o := newSky(t, ids...)
	wait50 := func() <-chan error {
		for _, id := range ids {
			s.show(id, api.StatusInactive)
		}
		results := make(chan error, 50)
		for n := range 50 {
			go func() {
				_, seen, err := o.Await(t.Context(), ids[n%len(ids)], api.StatusHealthy, 20*time.Second, nil)
				if err == nil && seen.Status != api.StatusHealthy {
					err = fmt.Errorf("status %s", seen.Status)
				}
				results <- err
			}()
		}
		wait.Eventually(t, 10*time.Second, func() error {
			o.mu.Lock()
			defer o.mu.Unlock()
			if len(o.waiters) != 50 {
				return fmt.Errorf("%d wait", len(o.waiters))
			}
			return nil
		})
		return results
	}
	heal := func() {
		for _, id := range ids {
			s.show(id, api.StatusHealthy)
		}
	}
	served := func(results <-chan error) {
		t.Helper()
		for range 50 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	}

	results := wait50()
	o.lookAtSome(t.Context())
	if s.counted() != 1 || len(results) != 0 {
		t.Fatalf("%d looks, %d answered before anything changed", s.counted(), len(results))
	}
	heal()
	o.lookAtSome(t.Context())
	served(results)
	if s.counted() != 2 {
		t.Errorf("%d looks, want the second one to answer all", s.counted())
	}

	// The same, left to itself.
	results = wait50()
	begin, before := time.Now(), s.counted()
	run(t, o)
	wait.Eventually(t, 10*time.Second, func() error {
		if n := s.counted() - before; n < 10 {
			return fmt.Errorf("%d looks", n)
		}
		return nil
	})
	if looks, most := s.counted()-before, int(time.Since(begin)/somePeriod)+5; looks > most {
		t.Errorf("%d looks for 50 who waited %s, want %d at most", looks, time.Since(begin), most)
	}
	changed := time.Now()
	heal()
	served(results)
	t.Logf("the last of 50 was answered %s after the change", time.Since(changed))
}

func TestWaitingEnds(t *testing.T) {
	t.Parallel()
	s, o := newSky(t, "one")
	s.show("one", api.StatusDown)
	run(t, o)
	closed := make(chan struct{})
	close(closed)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tc := range map[string]struct {
		ctx      context.Context
		id       string
		timeout  time.Duration
		draining chan struct{}
		err      error
	}{
		"at the timeout":           {t.Context(), "one", time.Millisecond, nil, nil},
		"when the service drains":  {t.Context(), "one", time.Hour, closed, nil},
		"when the caller leaves":   {cancelled, "one", time.Hour, nil, context.Canceled},
		"when there is no such id": {t.Context(), "two", time.Hour, nil, supervisor.ErrNotFound},
	} {
		_, seen, err := o.Await(tc.ctx, tc.id, api.StatusHealthy, tc.timeout, tc.draining)
		if !errors.Is(err, tc.err) || (err == nil && seen.Status != api.StatusDown) {
			t.Errorf("%s: %s, %v", name, seen.Status, err)
		}
	}
	if len(o.waiters) != 0 {
		t.Errorf("%d still wait", len(o.waiters))
	}
}

// TestChangesAreTold plays looks at one unit, some time apart, and compares what was told.
func TestChangesAreTold(t *testing.T) {
	t.Parallel()
	cond := func(kind string, s api.ConditionStatus, reason string) api.Condition {
		return api.Condition{Type: kind, Status: s, Reason: reason}
	}
	type look struct {
		after      time.Duration
		status     api.Status
		conditions []api.Condition
	}
	up := []api.Condition{cond(api.ClientConnected, api.True, "connected"), cond(api.PortsListening, api.True, "listening")}
	lost := []api.Condition{cond(api.ClientConnected, api.False, "client_lost")}
	never := []api.Condition{cond(api.ClientConnected, api.False, "never_connected")}
	stolen := []api.Condition{cond(api.ClientConnected, api.True, "connected"), cond(api.PortsListening, api.False, "port_stolen")}
	local := func(s api.ConditionStatus) []api.Condition {
		return []api.Condition{cond(api.Connected, api.True, "connected"), cond(api.LocalReachable, s, "nothing_listens")}
	}
	tick, blink := time.Second, 20*time.Millisecond
	created, known := api.Event{ServerID: "one", Type: api.EventCreated}, func(types ...api.EventType) (all []api.Event) {
		for _, t := range types {
			all = append(all, api.Event{ServerID: "one", Type: t})
		}
		return all
	}
	for name, tc := range map[string]struct {
		heard []api.Event
		looks []look
		want  []string
	}{
		"a new one comes up": {
			[]api.Event{created},
			[]look{{0, api.StatusInactive, never}, {tick, api.StatusHealthy, up}, {tick, api.StatusHealthy, up}},
			[]string{"one connected", "one healthy"},
		},
		"a blink is no loss": {
			[]api.Event{created},
			[]look{{0, api.StatusHealthy, up}, {tick, api.StatusDown, lost}, {blink, api.StatusHealthy, up}, {tick, api.StatusHealthy, up}},
			[]string{"one connected", "one healthy"},
		},
		"seen once is not enough": {
			[]api.Event{created},
			[]look{{0, api.StatusHealthy, up}, {tick, api.StatusDown, lost}},
			[]string{"one connected", "one healthy"},
		},
		"a loss": {
			[]api.Event{created},
			[]look{{0, api.StatusHealthy, up}, {tick, api.StatusDown, lost}, {blink, api.StatusDown, lost}, {tick, api.StatusDown, lost}},
			[]string{"one connected", "one healthy", "one client_lost(client_lost)", "one down(client_lost)"},
		},
		"a port is stolen and given back": {
			[]api.Event{created},
			[]look{{0, api.StatusDegraded, stolen}, {tick, api.StatusDegraded, stolen}, {tick, api.StatusHealthy, up}},
			[]string{"one connected", "one port_stolen", "one degraded(port_stolen)", "one healthy"},
		},
		"the game goes and comes": {
			[]api.Event{created},
			[]look{
				{0, api.StatusHealthy, local(api.True)},
				{tick, api.StatusDegraded, local(api.False)},
				{tick, api.StatusDegraded, local(api.False)},
				{tick, api.StatusHealthy, local(api.True)},
				{tick, api.StatusHealthy, local(api.Unknown)},
			},
			[]string{"one connected", "one healthy", "one local_unreachable(nothing_listens)", "one degraded(nothing_listens)", "one local_reachable", "one healthy"},
		},
		"one that was there before the journal": {
			nil,
			[]look{{0, api.StatusHealthy, up}, {tick, api.StatusDown, lost}, {tick, api.StatusDown, lost}},
			[]string{"one client_lost(client_lost)", "one down(client_lost)"},
		},
		"nothing happened while the service was away": {
			append([]api.Event{created}, known(api.EventConnected, api.EventHealthy)...), []look{{0, api.StatusHealthy, up}, {tick, api.StatusHealthy, up}}, nil,
		},
		"lost while the service was away": {
			known(api.EventConnected, api.EventHealthy),
			[]look{{0, api.StatusDown, lost}, {tick, api.StatusDown, lost}},
			[]string{"one client_lost(client_lost)", "one down(client_lost)"},
		},
		"stopped on purpose": {
			[]api.Event{created},
			[]look{{0, api.StatusHealthy, up}, {tick, api.StatusDisabled, nil}, {tick, api.StatusDisabled, nil}, {tick, api.StatusHealthy, up}},
			[]string{"one connected", "one healthy", "one connected", "one healthy"},
		},
		"what cannot be told": {
			[]api.Event{created},
			[]look{{0, api.StatusHealthy, local(api.True)}, {tick, api.StatusHealthy, []api.Condition{cond(api.Connected, api.Unknown, "unknown")}}},
			[]string{"one connected", "one healthy"},
		},
		"removed and made again": {
			append(known(api.EventCreated, api.EventConnected, api.EventHealthy, api.EventRemoved), created),
			[]look{{0, api.StatusHealthy, up}},
			[]string{"one connected", "one healthy"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, o := newSky(t, "one")
			for _, e := range tc.heard {
				o.Heard(e)
			}
			at := time.Now()
			for _, l := range tc.looks {
				at = at.Add(l.after)
				o.record(s.views["one"], at, func(view, Eye) Observed { return Observed{Status: l.status, Conditions: slices.Clone(l.conditions)} }, Eye{})
			}
			// An older look that comes late is no news.
			o.record(s.views["one"], at.Add(-time.Minute), func(view, Eye) Observed { return Observed{Status: api.StatusHealthy, Conditions: slices.Clone(up)} }, Eye{})
			if !slices.Equal(s.told, tc.want) {
				t.Errorf("told\n%q, want\n%q", s.told, tc.want)
			}
		})
	}
}

// TestALossIsConfirmedSoon does not leave it to the next look at all units.
func TestALossIsConfirmedSoon(t *testing.T) {
	t.Parallel()
	s, o := newSky(t, "one")
	o.Heard(api.Event{ServerID: "one", Type: api.EventCreated, Time: time.Now()})
	s.show("one", api.StatusHealthy, api.Condition{Type: api.ClientConnected, Status: api.True})
	if _, err := o.Show(t.Context(), s.views["one"]); err != nil {
		t.Fatal(err)
	}
	s.show("one", api.StatusDown, api.Condition{Type: api.ClientConnected, Status: api.False, Reason: "client_lost"})
	if _, err := o.Show(t.Context(), s.views["one"]); err != nil {
		t.Fatal(err)
	}
	due, needed := o.nextDue()
	if wait := time.Until(due); !needed || wait < 0 || wait > settle {
		t.Fatalf("the next look is due in %s (%v)", wait, needed)
	}
	run(t, o)
	wait.Eventually(t, 10*time.Second, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if want := []string{"one connected", "one healthy", "one client_lost(client_lost)", "one down(client_lost)"}; !slices.Equal(s.told, want) {
			return fmt.Errorf("told %q", s.told)
		}
		return nil
	})
}

// TestAnAssessmentMayWaitForTheSupervisor has each assessment wait until somebody else has told of an event, as one does that
// notes a unit's first connection: the supervisor tells of its events while nobody else may write to the unit.
func TestAnAssessmentMayWaitForTheSupervisor(t *testing.T) {
	t.Parallel()
	s, o := newSky(t, "one")
	o.Heard(api.Event{ServerID: "one", Type: api.EventCreated, Time: time.Now()})
	var explained atomic.Bool
	s.asked = func(explain bool) {
		told := make(chan struct{})
		go func() {
			defer close(told)
			o.Heard(api.Event{ServerID: "another", Type: api.EventDown})
			o.Poke("another")
		}()
		<-told
		explained.Store(explained.Load() || explain)
	}
	s.show("one", api.StatusHealthy, api.Condition{Type: api.ClientConnected, Status: api.True})
	run(t, o)
	wait.Eventually(t, 10*time.Second, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if want := []string{"one connected", "one healthy"}; !slices.Equal(s.told, want) || !explained.Load() {
			return fmt.Errorf("told %q, explained %v", s.told, explained.Load())
		}
		return nil
	})
}
