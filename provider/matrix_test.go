package provider

import (
	"context"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// matrixLeast is a floor under the number of cases: a matrix that has lost a dimension must not pass.
const matrixLeast = 1100

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
				calls := inHealth(t, s)
				for n := range len(calls) + 1 {
					t.Run(fmt.Sprintf("killed after %d calls", n), func(t *testing.T) {
						t.Parallel()
						ran.Add(1)
						bubble(t, s, func(m *matrix) { m.killed(int64(n), len(calls)) })
					})
				}
				for at, c := range calls {
					if slices.IndexFunc(calls, c.same) < at || (len(s.only) > 0 && !slices.Contains(s.only, c.route)) {
						continue // the same route again, or one that other scenarios try
					}
					for kind, f := range faults(&fakeService{name: c.service}, nil, nil) {
						for _, reach := range f.reaches {
							t.Run(fmt.Sprintf("%s at %s %s %d", kind, c.service, c.route, reach), func(t *testing.T) {
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
		after, diags := m.operate(m.t.Context(), m.run(nil))
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
func (m *matrix) killed(n int64, of int) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(m.t.Context())
	defer cancel()
	died := false
	r := m.run(&life{n, func() { died = true; cancel() }})
	done, _ := m.operate(ctx, r)
	if died != (n < int64(of)) {
		m.t.Errorf("killed after %d of %d calls: %t", n, of, died)
	}
	if n == int64(of) {
		m.held = done // it was not killed before it was done; its answer arrived
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
	after, diags := m.operate(ctx, m.run(nil))
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
	if f.passes && reach == once && failed(diags) != m.fails {
		t.Errorf("trying again would have helped; it says %q", summaries(diags))
	}
	if f.retry == "3600" && (len(fired) > 1 || took > 2*time.Minute && !m.fails) {
		t.Errorf("left alone for an hour it shall be: asked %d times in %s", len(fired), took)
	}
	for i := range fired[1:] {
		if pause := fired[i+1].at.Sub(fired[i].at); f.retry == "1" && reach == always && pause < time.Second {
			t.Errorf("it came back after %s, asked for a second", pause)
		}
	}
	m.mustNotBlame(service, after)
	m.mustConverge(after)
}

// arm sets the fault, and gives the route that it befalls.
func (m *matrix) arm(service *fakeService, route string, f fault, reach reach) string {
	switch reach {
	case once:
		f.times = 1
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

func names(calls []seenCall) (all []string) {
	for _, c := range calls {
		all = append(all, c.service+" "+c.route)
	}
	return all
}

// changes tells of a call that changes something.
func (c seenCall) changes() bool {
	return !strings.Contains(c.route, "GET ") && !strings.HasPrefix(c.route, "dry ")
}

// undoes tells of a call that takes something back.
func (c seenCall) undoes() bool {
	return c.route == stopRoute || c.route == deleteRoute || c.route == rotateRoute
}

// mustStop checks the order: up to the fault the changes are those of the operation in health, and one that fails at it goes
// no further.
func (m *matrix) mustStop(calls []seenCall, at int, made []seenCall, diags []*tfprotov6.Diagnostic) {
	m.t.Helper()
	changing := func(calls []seenCall) (all []string) {
		for _, c := range calls {
			if c.changes() {
				all = append(all, c.service+" "+c.route)
			}
		}
		return slices.Compact(all) // how often it is tried is another matter
	}
	first := slices.IndexFunc(made, func(c seenCall) bool { return c.same(calls[at]) })
	if first < 0 || !slices.Equal(changing(made[:first]), changing(calls[:at])) {
		m.t.Errorf("before the fault the changes were %q, in health %q", changing(made[:max(0, first)]), changing(calls[:at]))
	}
	if !failed(diags) || m.fails || strings.HasPrefix(calls[at].route, "dry ") { // what a plan cannot learn is a warning
		return
	}
	for _, c := range calls[at+1:] {
		if c.changes() && !c.undoes() && slices.ContainsFunc(made, c.same) {
			m.t.Errorf("it failed at %s, and went on to %s: %q", calls[at].route, c.route, summaries(diags))
		}
	}
}

var nextStep = regexp.MustCompile(`(?i)apply again|plan again|run terraform again|destroy it again|destroy again|terraform import`)

// mustExplain checks an error: whose half, at which step, and what to do.
func (m *matrix) mustExplain(service *fakeService, diags []*tfprotov6.Diagnostic) {
	m.t.Helper()
	for _, d := range diags {
		if d.Severity != tfprotov6.DiagnosticSeverityError {
			continue
		}
		who := strings.Contains(d.Detail, service.URL) || m.interrupted // whoever was asked when the interruption came
		if !strings.HasPrefix(d.Summary, "Unable to ") || !who || !nextStep.MatchString(d.Detail) {
			m.t.Errorf("it does not say who failed (%s), at what, and what next: %q", service.URL, d.Summary+": "+d.Detail)
		}
	}
}

// mustTell checks that nothing exists that neither state nor message tells of, and that neither holds a secret.
func (m *matrix) mustTell(h held, diags []*tfprotov6.Diagnostic) {
	m.t.Helper()
	said := strings.Join(summaries(diags), "\n")
	for _, secret := range []string{fakeToken, tunnelSecret} {
		if strings.Contains(said, secret) || strings.Contains(h.state.String()+string(h.private), secret) {
			m.t.Errorf("a secret is told: %q, %s", said, h.state)
		}
	}
	instance, agents := m.where()
	if h.state.IsNull() {
		if m.lost && (m.act == imports || failed(diags)) {
			return // it was there before, and nobody knew it then
		}
		if instance {
			m.t.Errorf("the manager has an instance that no state knows: %q", said)
		}
		m.mustTellOf(agents, "", said)
		return
	}
	url := ""
	if v := h.fieldsOf(m.t)["agent_url"]; !v.IsNull() {
		_ = v.As(&url)
	}
	m.mustTellOf(agents, url, said)
	if !failed(diags) && !m.fails && !m.interrupted && m.act == applies {
		m.mustBe(h, m.after)
	}
	if h.tainted && !strings.Contains(said, "kept in the state, tainted") {
		m.t.Errorf("a tainted state is kept, and not told of: %q", said)
	}
}

// mustTellOf checks that clients on other agents than the state's are told of.
func (m *matrix) mustTellOf(agents []string, url, said string) {
	m.t.Helper()
	for _, a := range agents {
		told := strings.Contains(said, a) && (strings.Contains(said, "may still run") || strings.Contains(said, "left behind on") || strings.Contains(said, "Client left behind"))
		if a != url && !told {
			m.t.Errorf("%s has a client that neither the state (%q) nor the message tells of: %q", a, url, said)
		}
	}
}

// mustNotBlame checks that a failing agent costs the undo of the server half nothing.
func (m *matrix) mustNotBlame(service *fakeService, h held) {
	m.t.Helper()
	if m.act != applies || m.before != nil || service == m.fake.manager {
		return
	}
	if instance, _ := m.where(); instance && h.tainted {
		m.t.Error("the agent failed, and the server half was not removed")
	}
}

// mustBe checks that both halves are as configured, and that the state says so.
func (m *matrix) mustBe(h held, config values) {
	m.t.Helper()
	if h.state.IsNull() {
		m.t.Error("the state is empty")
		return
	}
	fields := h.fieldsOf(m.t)
	for name, want := range config {
		if name != "services" && name != "timeouts" && !fields[name].Equal(want) {
			m.t.Errorf("%s is %s, want %s", name, fields[name], want)
		}
	}
	m.fake.state.Lock()
	defer m.fake.state.Unlock()
	inst := m.fake.instances[matrixID]
	if inst == nil {
		m.t.Error("the manager has no instance")
		return
	}
	want := api.StatusInactive
	var runs []string
	switch {
	case !inst.Enabled:
		want = api.StatusDisabled
	case inst.AgentURL != "":
		want, runs = api.StatusHealthy, []string{inst.AgentURL}
	}
	status, hash := m.fake.show(inst).Status, ""
	if !fields["client_config_sha256"].IsNull() {
		_ = fields["client_config_sha256"].As(&hash)
	}
	if status != want || !fields["status"].Equal(text(string(want))) || (len(runs) > 0) != (hash == inst.ClientConfigSHA256) {
		m.t.Errorf("the status is %s, in the state %s with hash %q, want %s and %q", status, fields["status"], hash, want, inst.ClientConfigSHA256)
	}
	for _, a := range m.fake.agents() {
		c, has := a.clients[matrixID]
		fenced := a.URL == m.away && c.ConfigSHA256 != inst.ClientConfigSHA256
		if has != slices.Contains(runs, a.URL) && !fenced {
			m.t.Errorf("agent %s has a client: %t", a.URL, has)
		}
	}
}

// mustConverge checks that the next run, with all mended, brings everything to where it shall be, and the one after finds
// nothing to do.
func (m *matrix) mustConverge(h held) {
	m.t.Helper()
	m.fake.mend()
	ctx := m.t.Context()
	r := m.run(nil)
	var diags, more []*tfprotov6.Diagnostic
	if m.act == imports && h.state.IsNull() {
		if h, diags = r.importByIdentity(ctx, matrixID); failed(diags) && strings.Contains(summaries(diags)[0], "there is none") {
			h = r.nothing()
		}
	} else {
		h, diags = r.refresh(ctx, h)
	}
	r.must(nil, diags)
	if m.after == nil && h.state.IsNull() {
		m.mustHaveNothing()
		return
	}
	h, more = r.change(ctx, h, m.after)
	r.must(nil, more)
	if m.after == nil {
		m.mustHaveNothing()
		return
	}
	m.mustBe(h, m.after)
	r.mustIdentify(h.identity, matrixID)

	r = m.run(nil)
	h, diags = r.refresh(ctx, h)
	mustBeSilent(m.t, diags)
	resp := r.planned(ctx, &h.state, m.after, h)
	mustBeSilent(m.t, resp.Diagnostics)
	if planned := r.decode(resp.PlannedState); !planned.Equal(h.state) {
		m.t.Errorf("the next plan is not empty: %s, want %s", planned, h.state)
	}
}

func (m *matrix) mustHaveNothing() {
	m.t.Helper()
	instance, agents := m.where()
	agents = slices.DeleteFunc(agents, func(a string) bool { return a == m.away })
	if instance || len(agents) > 0 {
		m.t.Errorf("destroyed, there is an instance: %t, and there are clients on %q", instance, agents)
	}
}
