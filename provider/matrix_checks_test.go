package provider

import (
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

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

var nextStep = regexp.MustCompile(`(?i)choose another port|apply again|plan again|run terraform again|destroy it again|destroy again|terraform import`)

// mustExplain checks an error: whose half, at which step, and what to do.
func (m *matrix) mustExplain(service *fakeService, diags []*tfprotov6.Diagnostic) {
	m.t.Helper()
	for _, d := range diags {
		if d.Severity != tfprotov6.DiagnosticSeverityError {
			continue
		}
		who := strings.Contains(d.Detail, service.URL) || m.interrupted // whoever was asked when the interruption came
		what := strings.HasPrefix(d.Summary, "Unable to ") || d.Summary == "Port not available"
		if !what || !who || !nextStep.MatchString(d.Detail) {
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

// mustTellOwner checks what is made of a port that is taken: its owner is named, at the port's attribute, unless it was worth
// waiting and the port became free. An instance is waited for, which may let go of it in this very apply, and a program is not.
func (m *matrix) mustTellOwner(f matrixFault, route string, reach reach, fired []seenCall, diags []*tfprotov6.Diagnostic) {
	m.t.Helper()
	dry := strings.HasPrefix(route, "dry ")
	told := slices.ContainsFunc(diags, func(d *tfprotov6.Diagnostic) bool {
		at := tftypes.NewAttributePath().WithAttributeName("game_port")
		return strings.Contains(d.Detail, "held by "+f.owner) && d.Attribute.Equal(at) && failed([]*tfprotov6.Diagnostic{d}) == (!dry || !f.passes)
	})
	if told != (dry || reach == always) {
		m.t.Errorf("that %s holds the port is told: %t, %q", f.owner, told, summaries(diags))
	}
	waited, patience := fired[len(fired)-1].at.Sub(fired[0].at), m.server.provider.limits.portWait
	waits := f.passes && reach == always && !dry
	if (waits && (waited < patience-maxPause || waited > patience+2*maxPause)) || (!f.passes || dry) && len(fired) > 1 {
		m.t.Errorf("asked for the port of %s %d times in %s", f.owner, len(fired), waited)
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
// nothing to do. What it depends on is the world that it begins in, so it is tried once from each.
func (m *matrix) mustConverge(h held) {
	m.t.Helper()
	m.fake.mend()
	if m.shared != nil {
		if _, known := m.shared.converged.LoadOrStore(m.world(h).text(m.t), true); known {
			return
		}
	}
	ctx := m.t.Context()
	r := m.run(nil)
	var diags, more []*tfprotov6.Diagnostic
	if m.act == imports && h.state.IsNull() {
		if h, diags = m.imported(ctx, r); failed(diags) && strings.Contains(summaries(diags)[0], "there is none") {
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
