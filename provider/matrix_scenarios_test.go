package provider

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// What the matrix's configurations are made of.
const (
	matrixID    = "srv"
	firstAgent  = "http://host.test:8081"
	secondAgent = "http://host2.test:8081"
	matrixVPS   = "http://vps.test:7001"
	matrixTotal = 8 * time.Minute // what any operation may take: its own 5 min, the undo, the looks for causes, and one call
)

// Routes that only the matrix names.
const (
	waitRoute       = "wait " + getRoute
	logsRoute       = "GET /api/instances/{id}/logs"
	clientLogsRoute = "GET /api/rathole/clients/{id}/logs"
)

var (
	simple  = values{"server_id": text(matrixID), "game_port": number(30000), "agent_url": text(firstAgent), "timeouts": patience()}
	resized = simple.with(values{"game_port": number(30001)})
	moved   = simple.with(values{"agent_url": text(secondAgent)})
	alone   = values{"server_id": text(matrixID), "game_port": number(30000), "timeouts": patience()}
	off     = simple.with(values{"enabled": tftypes.NewValue(tftypes.Bool, false)})
	forced  = simple.with(values{"force_destroy": tftypes.NewValue(tftypes.Bool, true)})
	labeled = simple.with(values{"labels": tftypes.NewValue(tftypes.Map{ElementType: tftypes.String}, map[string]tftypes.Value{"a": text("b")})})
)

// patience is time enough for one call that hangs (60 s) and its repetition, in each operation.
func patience() tftypes.Value { return patienceOf("90s") }

func patienceOf(d string) tftypes.Value {
	resource, _ := schemaTypes()
	return tftypes.NewValue(resource.AttributeTypes["timeouts"], map[string]tftypes.Value{"create": text(d), "update": text(d), "delete": text(d)})
}

// query is a configuration whose public port is the manager's choice.
func query() values {
	one := servicesOf(map[string]values{"query": {"protocols": protocols("udp"), "local_port": number(15777)}})
	return values{"server_id": text(matrixID), "agent_url": text(firstAgent), "services": one, "timeouts": patience()}
}

// What a scenario does.
type act int

const (
	applies act = iota
	refreshes
	destroys
	imports
)

// scenario is one operation of Terraform in one situation.
type scenario struct {
	before values        // what was applied earlier; nil: nothing
	lost   bool          // and of which the state was lost
	harm   func(*matrix) // what went wrong since; mended by matrix.mend, if it can be
	act    act
	byID   bool     // an import by id, and not by identity
	after  values   // what is applied, or holds after the operation; nil: nothing exists
	fails  bool     // whether harm makes it fail, as it shall
	only   []string // the routes at which faults are tried; empty: all. What other scenarios try is not tried again.
	shared *shared  // with the other cases; nil: there are none
	away   string   // the agent that harm has taken away: a client may stay there, which must be told
}

func scenarios() map[string]scenario {
	refuses := func(route string) func(*matrix) {
		return func(m *matrix) {
			m.fake.agent.fail(route, fault{status: 422, code: api.CodeInvalidConfig})
		}
	}
	dead := func(m *matrix) { m.fake.agent.fail("*", fault{dial: errRefused}) }
	return map[string]scenario{
		"create":                  {act: applies, after: simple},
		"create with chosen port": {act: applies, after: query(), only: []string{createRoute}},
		"create of server half":   {act: applies, after: alone, only: []string{createRoute}},
		"create of what is there": {before: simple, lost: true, act: applies, after: simple, only: []string{createRoute, getClientRoute, configRoute, configureRoute, waitRoute}},
		"create refused by agent": {harm: refuses(configureRoute), act: applies, after: simple, fails: true, only: []string{createRoute, deleteRoute}},
		"create without tunnel": {
			harm: func(m *matrix) { m.fake.deaf = true }, act: applies, after: simple, fails: true,
			only: []string{waitRoute, getRoute, getClientRoute, logsRoute, clientLogsRoute, stopRoute, deleteRoute},
		},
		"refresh":          {before: simple, act: refreshes, after: simple},
		"update":           {before: simple, act: applies, after: resized},
		"update of labels": {before: simple, act: applies, after: labeled},
		"disable":          {before: simple, act: applies, after: off},
		"move":             {before: simple, act: applies, after: moved, away: firstAgent},
		"move from dead agent": {
			before: simple, harm: dead, act: applies, after: moved, away: firstAgent, only: []string{rotateRoute, updateRoute, configureRoute},
		},
		"repair of server half": {before: simple, harm: func(m *matrix) {
			m.gone(m.fake.manager)
			m.held, _ = m.run(nil).refresh(m.t.Context(), m.held)
		}, act: applies, after: simple, only: []string{updateRoute, createRoute, configRoute, configureRoute, waitRoute}},
		"repair of client half": {before: simple, harm: func(m *matrix) {
			m.gone(m.fake.agent.fakeService)
			m.held, _ = m.run(nil).refresh(m.t.Context(), m.held)
		}, act: applies, after: simple, only: []string{updateRoute, configRoute, configureRoute, waitRoute}},
		"destroy":                 {before: simple, act: destroys},
		"destroy of server half":  {before: alone, act: destroys},
		"destroy by force":        {before: forced, act: destroys, away: firstAgent, only: []string{stopRoute}},
		"destroy with dead agent": {before: forced, harm: dead, act: destroys, away: firstAgent, only: []string{deleteRoute}},
		"import":                  {before: simple, lost: true, act: imports, after: simple},
		"import by id":            {before: simple, lost: true, act: imports, byID: true, after: simple},
	}
}

// matrixServer is a server of the provider, for one case at a time. Each run of Terraform configures it anew.
type matrixServer struct {
	tfprotov6.ProviderServer
	provider *ratholeProvider
}

func newMatrixServer() *matrixServer {
	p := &ratholeProvider{version: "test", getenv: func(string) string { return "" }, limits: defaultLimits()}
	return &matrixServer{providerserver.NewProtocol6(p)(), p}
}

// matrix is the world of one case.
type matrix struct {
	scenario
	t       *testing.T
	server  *matrixServer
	fake    *fake
	connect func(lives int64, end func()) *lifeline
	held    held

	interrupted bool // somebody pressed ^C
}

// newMatrix makes the world of a scenario, up to its operation. It must be called in a bubble.
func newMatrix(t *testing.T, server *matrixServer, s scenario) *matrix {
	t.Helper()
	m := &matrix{scenario: s, t: t, server: server}
	m.fake, m.connect = newPipedFake(t)
	m.begin()
	if s.harm != nil {
		s.harm(m)
	}
	return m
}

// begin applies what was applied earlier, or takes it over from the case that did.
func (m *matrix) begin() {
	m.t.Helper()
	resource, _ := schemaTypes()
	m.held = held{state: tftypes.NewValue(resource, nil)}
	switch {
	case m.before == nil:
	case m.shared != nil && m.shared.begin != nil:
		m.enter(m.shared.begin)
	default:
		var diags []*tfprotov6.Diagnostic
		m.held, diags = m.run(nil).change(m.t.Context(), m.held, m.before)
		mustBeSilent(m.t, diags)
		if m.shared != nil {
			m.shared.begin = m.world(m.held)
		}
	}
	if m.lost {
		m.held = held{state: tftypes.NewValue(resource, nil)}
	}
}

// run begins a run of Terraform: a provider process, with the patience that users have; life says how many calls it lives
// for, nil: for ever.
func (m *matrix) run(life *life) *rpc {
	m.t.Helper()
	lives, end := int64(math.MaxInt64), func() {}
	if life != nil {
		lives, end = life.calls, life.end
	}
	m.server.provider.transport = m.connect(lives, end)
	return configure(m.t, m.server, values{"manager_url": text(matrixVPS), "token": text(fakeToken)})
}

type life struct {
	calls int64
	end   context.CancelFunc
}

// operate does what the scenario is about. One that goes wrong only after the plan may begin with that of the operation in health,
// as `terraform apply` does with a saved one.
func (m *matrix) operate(ctx context.Context, r *rpc, planned bool) (held, []*tfprotov6.Diagnostic) {
	m.t.Helper()
	switch m.act {
	case refreshes:
		return r.refresh(ctx, m.held)
	case destroys:
		return r.change(ctx, m.held, nil)
	case imports:
		return m.imported(ctx, r)
	}
	if !planned || m.shared == nil {
		return r.change(ctx, m.held, m.after)
	}
	next, diags := r.carryOut(ctx, m.held, m.shared.plan)
	return next, append(slices.Clone(m.shared.said), diags...)
}

func (m *matrix) imported(ctx context.Context, r *rpc) (held, []*tfprotov6.Diagnostic) {
	m.t.Helper()
	if m.byID {
		return r.importByID(ctx, matrixID)
	}
	return r.importByIdentity(ctx, matrixID)
}

// gone removes what a service has, behind everybody's back.
func (m *matrix) gone(s *fakeService) {
	m.fake.state.Lock()
	defer m.fake.state.Unlock()
	if s == m.fake.manager {
		clear(m.fake.instances)
		return
	}
	for _, a := range m.fake.agents() {
		if a.fakeService == s {
			clear(a.clients)
		}
	}
}

// where gives what exists: whether there is an instance, and the URLs of the agents that have a client.
func (m *matrix) where() (instance bool, agents []string) {
	m.fake.state.Lock()
	defer m.fake.state.Unlock()
	for _, a := range m.fake.agents() {
		if len(a.clients) > 0 {
			agents = append(agents, a.URL)
		}
	}
	return len(m.fake.instances) > 0, agents
}
