package faults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// version says everything about a unit. Serial numbers are never used twice; the zero version is a unit that is not there.
type version struct{ Serial, Kind int }

var absent version

// The kinds of a version are all sums of these. They differ in what makes a service do different things.
const (
	extra    = 1 << iota // one service more: a reload
	other                // another transport of an instance, another server of a client: a restart
	disabled             // an instance that runs nothing
	kinds
)

// verb is what can be done to a unit.
type verb string

const (
	create  verb = "create"
	update  verb = "update"
	toggle  verb = "toggle" // enable or disable an instance, move a client to another server and back
	restart verb = "restart"
	remove  verb = "remove"
)

// op is one operation on a unit.
type op struct {
	Verb verb
	Kind int // of the version that a create or an update brings
	// Patient callers ask the next life of a service again, the others go when it dies. A Keyed create may be repeated.
	Patient, Keyed bool
}

// GoString is how rapid shows an operation.
func (o op) GoString() string {
	text := string(o.Verb)
	for name, on := range map[string]bool{"extra": o.Kind&extra != 0, "other": o.Kind&other != 0, "disabled": o.Kind&disabled != 0} {
		if on && (o.Verb == create || o.Verb == update) {
			text += "+" + name
		}
	}
	if !o.Patient {
		text += " or go"
	}
	if o.Keyed && o.Verb == create {
		text += ", keyed"
	}
	return text
}

// target is a service as the model sees it.
type target interface {
	// expect is the version that an operation asks for, and the refusal that it must meet, if any.
	expect(before version, o op, serial int) (after version, refusal api.Code)
	// carryOut does it; the pid is that of the new engine after a restart, else 0.
	carryOut(ctx context.Context, id string, o op, after version) (pid int, err error)
	// look returns the version of a unit. A unit that is not wholly of one version is an error.
	look(ctx context.Context, id string) (version, error)
	list(ctx context.Context) (map[string]api.Status, error)
	// serves returns nil if a unit of that version does what it should.
	serves(ctx context.Context, id string, v version) error
	// runs tells whether a unit of that version has an engine.
	runs(v version) bool
	// consistent compares what the service says of itself with what its records say.
	consistent(ctx context.Context) error
}

// model knows what each unit may be. An operation that was acknowledged leaves one possibility, one that was not leaves
// two: it has happened or it has not, and never half.
type model struct {
	program *program
	target  target
	others  []string // units that somebody else made and nobody changes

	mu       sync.Mutex
	possible map[string][]version // a unit that is not in it is absent
	pids     map[string]int       // of engines that nothing may have replaced since
	serial   int
	answered int // operations
	lost     int // operations without an answer
	problems []error
}

func newModel(p *program, target target, others []string) *model {
	return &model{program: p, target: target, others: others, possible: map[string][]version{}, pids: map[string]int{}}
}

func (m *model) may(id string) []version {
	m.mu.Lock()
	defer m.mu.Unlock()
	if versions := m.possible[id]; len(versions) > 0 {
		return versions
	}
	return []version{absent}
}

func (m *model) set(id string, versions ...version) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.possible[id] = versions
}

func (m *model) complain(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problems = append(m.problems, fmt.Errorf("%s %s "+format, append([]any{time.Now().Format("15:04:05.000"), m.program.Kind}, args...)...))
}

func (m *model) next() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.serial++
	return m.serial
}

// settle asks what became of a unit, and leaves one possibility. It complains if the answer is none of those.
func (m *model) settle(ctx context.Context, id string) (version, error) {
	may := m.may(id)
	v, err := m.target.look(ctx, id)
	if err != nil {
		return absent, err
	}
	if !slices.Contains(may, v) {
		m.complain("%s is %+v, and may be %+v", id, v, may)
	}
	m.set(id, v)
	return v, nil
}

// do carries out one operation on a unit that is settled, and tells whether it was answered.
func (m *model) do(ctx context.Context, id string, o op) bool {
	before := m.may(id)[0]
	after, refusal := m.target.expect(before, o, m.next())
	if refusal == "" {
		m.set(id, before, after)
		m.engine(id, 0)
	}
	pid, err := m.target.carryOut(ctx, id, o, after)
	if o.Verb == remove && client.IsNotFound(err) && refusal == "" {
		err = nil // the client repeats a removal whose answer is lost
	}
	switch {
	case refusal == "" && err == nil:
		m.set(id, after)
		m.engine(id, pid)
	case refusal != "" && client.HasCode(err, refusal):
	case client.IsTransient(err) || errors.Is(err, context.Canceled):
		m.mu.Lock()
		defer m.mu.Unlock()
		m.lost++
		return false
	default:
		m.complain("%s is %+v, and %+v, which should be answered by %+v or refused as %q, is answered: %v", id, before, o, after, refusal, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answered++
	return true
}

// engine notes the pid of a unit's engine; 0 if it is not known.
func (m *model) engine(id string, pid int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pids[id] = pid
}

// chain is what one caller does to one unit, one operation after the other.
type chain struct {
	Service kind
	Unit    string
	Ops     []op
}

// GoString is how rapid shows a chain.
func (c chain) GoString() string { return fmt.Sprintf("%s %s: %#v", c.Service, c.Unit, c.Ops) }

// run carries out a chain. The service may die and come back meanwhile.
func (m *model) run(ctx context.Context, c chain) {
	for _, o := range c.Ops {
		if err := m.settleSoon(ctx, c.Unit); err != nil {
			m.complain("look at %s: %v", c.Unit, err)
			return
		}
		if o.Patient {
			m.do(ctx, c.Unit, o)
		} else {
			m.do(m.program.alive(), c.Unit, o)
		}
	}
}

// settleSoon settles a unit once the service answers.
func (m *model) settleSoon(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		_, err := m.settle(ctx, id)
		if err == nil || !client.IsTransient(err) {
			return err
		}
		select { // the service is dead or loading
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// mustAgree compares everything with the model: records, processes, files, ports. The service is ready, and has ten
// seconds for what it found half done.
func (m *model) mustAgree(t tester) {
	t.Helper()
	wait.Eventually(t, 10*time.Second, func() error { return m.compare(t.Context()) })
	m.mu.Lock()
	problems := errors.Join(m.problems...)
	m.problems = nil
	m.mu.Unlock()
	if problems != nil {
		t.Fatalf("%v\nlog of the %s:\n%s", problems, m.program.Kind, m.program.tail())
	}
}

func (m *model) compare(ctx context.Context) error {
	m.mu.Lock()
	ids := slices.Sorted(maps.Keys(m.possible))
	m.mu.Unlock()
	want := map[string]bool{}
	listed, err := m.target.list(ctx)
	if err != nil {
		return err
	}
	for _, id := range m.others {
		want[id] = true
		if listed[id] != api.StatusHealthy {
			return fmt.Errorf("%s is %q", id, listed[id])
		}
	}
	for _, id := range ids {
		v, err := m.settle(ctx, id)
		if err != nil {
			return err
		}
		if v == absent {
			continue
		}
		want[id] = m.target.runs(v)
		if err := m.target.serves(ctx, id, v); err != nil {
			return fmt.Errorf("%s, %+v: %w", id, v, err)
		}
	}
	if got, expected := slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(want)); !slices.Equal(got, expected) {
		return fmt.Errorf("listed are %v, expected %v", got, expected)
	}
	if err := m.target.consistent(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	engines, err := m.program.differences(want, m.pids)
	m.pids = engines
	return err
}

// reset removes all units but those of others, and begins anew.
func (m *model) reset(t tester) {
	t.Helper()
	if m.program.died() {
		m.program.start(t, "", 0)
	}
	m.program.mustBeReady(t)
	listed, err := m.target.list(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	for id := range listed {
		if slices.Contains(m.others, id) {
			continue
		}
		if _, err := m.target.carryOut(t.Context(), id, op{Verb: remove}, absent); err != nil && !client.IsNotFound(err) {
			t.Fatalf("remove %s: %v", id, err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.possible, m.problems = map[string][]version{}, nil
	maps.DeleteFunc(m.pids, func(id string, _ int) bool { return !slices.Contains(m.others, id) })
}
