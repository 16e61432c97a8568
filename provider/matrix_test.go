package provider

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// matrixLeast is a floor under the number of cases: a matrix that has lost a dimension must not pass.
const matrixLeast = 1800

// TestMatrix lets every call of every operation go wrong in every way, and kills the provider between any two calls. The
// calls are those of the operation in health, so one that is added to the provider is covered by itself.
//
// Whatever happens: nothing exists that neither the state nor the message tells of, the message says what and what next, no
// secret is in it, and once the cause is mended, the next run of Terraform brings everything to where it shall be.
func TestMatrix(t *testing.T) {
	t.Parallel()
	schemaTypes() // outside of any bubble
	var ran atomic.Int64
	t.Run("cases", func(t *testing.T) {
		for name, s := range scenarios() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s.shared = &shared{}
				calls := inHealth(t, s)
				for _, route := range s.only {
					if !slices.ContainsFunc(calls, func(c seenCall) bool { return c.route == route }) {
						t.Errorf("it makes no call of %s", route)
					}
				}
				for n := range len(calls) + 1 {
					t.Run(fmt.Sprintf("killed after %d calls", n), func(t *testing.T) {
						t.Parallel()
						ran.Add(1)
						bubble(t, s, func(m *matrix) { m.killed(int64(n)) })
					})
				}
				for at, c := range calls {
					if slices.IndexFunc(calls, c.same) < at || (len(s.only) > 0 && !slices.Contains(s.only, c.route)) {
						continue // the same route again, or one that other scenarios try
					}
					for kind, f := range faults(&fakeService{name: c.service}, nil, nil) {
						if !f.befalls(c.route) {
							continue
						}
						for _, reach := range f.reaches {
							t.Run(fmt.Sprintf("%s at %s %s %s", kind, c.service, strings.ReplaceAll(c.route, "/", "."), reach), func(t *testing.T) {
								t.Parallel()
								ran.Add(1)
								bubble(t, s, func(m *matrix) { m.faulty(calls, at, kind, reach) })
							})
						}
					}
				}
			})
		}
	})
	t.Logf("%d cases", ran.Load())
	if n := ran.Load(); n < matrixLeast && !filtered(t) {
		t.Errorf("only %d cases ran, want at least %d", n, matrixLeast)
	}
}

// filtered tells of a -run that names some of the cases.
func filtered(t *testing.T) bool {
	run := flag.Lookup("test.run")
	return t.Failed() || (run != nil && strings.Contains(run.Value.String(), "/"))
}

func (c seenCall) same(o seenCall) bool { return c.service == o.service && c.route == o.route }

// inHealth does a scenario's operation without a fault, and gives its calls.
func inHealth(t *testing.T, s scenario) (calls []seenCall) {
	t.Helper()
	bubble(t, s, func(m *matrix) {
		before := len(m.fake.log.since(0))
		r := m.run(nil)
		if m.act == applies {
			m.shared.intend(m, r)
		}
		after, diags := m.operate(m.t.Context(), r, true)
		calls = m.fake.log.since(before)
		if failed(diags) != s.fails {
			m.t.Fatalf("in health it says %q", summaries(diags))
		}
		m.mustTell(after, diags)
		m.mustConverge(after)
	})
	if len(calls) == 0 {
		t.Fatal("in health it makes no call: there is nothing to fail")
	}
	return calls
}

// servers are the provider's servers that no case uses: each builds its schema once, which is half the work of a case.
var servers sync.Pool

// bubble runs a case in the world of a scenario, in virtual time.
func bubble(t *testing.T, s scenario, do func(*matrix)) {
	t.Helper()
	server, _ := servers.Get().(*matrixServer)
	if server == nil {
		server = newMatrixServer()
	}
	defer servers.Put(server)
	synctest.Test(t, func(t *testing.T) { do(newMatrix(t, server, s)) })
}

// killed kills the provider after n calls: Terraform knows no more than before the operation.
func (m *matrix) killed(n int64) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(m.t.Context())
	defer cancel()
	var died atomic.Bool // it may ask both halves at once
	r := m.run(&life{n, func() { died.Store(true); cancel() }})
	before := len(m.fake.log.since(0))
	done, _ := m.operate(ctx, r, false)
	// How often a dead service is asked until it is given up is left to chance, so it may have made fewer calls than in health.
	if made := int64(len(m.fake.log.since(before))); !died.Load() && made > n {
		m.t.Errorf("not killed after %d of %d calls", n, made)
	}
	if !died.Load() {
		m.held = done // its answer arrived
	}
	if m.act == imports {
		m.held = r.nothing()
	}
	m.mustConverge(m.held)
}

// faulty lets a call go wrong.
func (m *matrix) faulty(calls []seenCall, at int, kind string, reach reach) {
	t := m.t
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	service := m.service(calls[at].service)
	f := faults(service, cancel, func() { m.gone(service) })[kind]
	route := m.arm(service, calls[at].route, f.fault, reach)

	before, begun := len(m.fake.log.since(0)), time.Now()
	after, diags := m.operate(ctx, m.run(nil), !strings.HasPrefix(route, "dry "))
	took := time.Since(begun)
	made := m.fake.log.since(before)

	fired := slices.DeleteFunc(slices.Clone(made), func(c seenCall) bool {
		return !c.faulty || c.service != service.name || (reach != dead && c.route != route)
	})
	if len(fired) == 0 {
		t.Fatalf("the fault did not befall: calls were %v", names(made))
	}
	if took > matrixTotal {
		t.Errorf("it took %s", took)
	}
	m.interrupted = ctx.Err() != nil
	if kind != "gone" { // which is an answer to go on from
		m.mustStop(calls, at, made, diags)
	}
	m.mustTell(after, diags)
	if failed(diags) && !m.fails {
		m.mustExplain(service, diags)
	}
	patient := reach == awhile && (m.act == applies || m.act == destroys) // a refresh leaves it at what the client tries
	if f.passes && (reach == once || patient) && failed(diags) != m.fails {
		t.Errorf("trying again would have helped; it says %q", summaries(diags))
	}
	if f.status != 0 && !f.passes && f.retry == "" && calls[at].changes() && !failed(diags) {
		t.Errorf("a change was refused for good, and it goes on as if it were done: %q", summaries(diags))
	}
	if f.retry == "3600" && (len(fired) > 1 || took > 2*time.Minute && !m.fails) {
		t.Errorf("left alone for an hour it shall be: asked %d times in %s", len(fired), took)
	}
	if f.owner != "" {
		m.mustTellOwner(f, route, reach, fired, diags)
	}
	for i := range fired[1:] {
		if pause := fired[i+1].at.Sub(fired[i].at); f.retry == "1" && reach == always && pause < time.Second {
			t.Errorf("it came back after %s, asked for a second", pause)
		}
	}
	if m.fails && f.passes && (reach == once || patient) && !after.state.IsNull() {
		t.Errorf("the undo would have come through, tried again: it left %s", after.state)
	}
	m.mustNotBlame(service, after)
	m.mustConverge(after)
}

// arm sets the fault, and gives the route that it befalls.
func (m *matrix) arm(service *fakeService, route string, f fault, reach reach) string {
	switch reach {
	case once:
		f.times = 1
	case awhile:
		f.times = 5
	case dead:
		before, lasting := f.before, f
		lasting.before = nil
		f.before = func() {
			service.fail("*", lasting)
			if before != nil {
				before()
			}
		}
	}
	service.fail(route, f)
	return route
}

func (m *matrix) service(name string) *fakeService {
	for _, s := range m.fake.services() {
		if s.name == name {
			return s
		}
	}
	m.t.Fatalf("there is no service %s", name)
	return nil
}
