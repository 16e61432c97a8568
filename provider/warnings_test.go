package provider

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

func TestPlanChecksWithTheManager(t *testing.T) {
	t.Parallel()
	refuses := func(locations ...string) func(*testing.T, *fake, backend) {
		return func(_ *testing.T, f *fake, _ backend) {
			p := &api.Problem{Status: 422, Code: api.CodeInvalidRequest}
			for _, l := range locations {
				p.Errors = append(p.Errors, api.FieldError{Location: l, Message: "no"})
			}
			f.manager.fail("*", fault{answer: func(w http.ResponseWriter) { answerProblem(w, p) }})
		}
	}
	fails := func(what fault) func(*testing.T, *fake, backend) {
		return func(_ *testing.T, f *fake, _ backend) { f.manager.fail("*", what) }
	}
	tests := map[string]struct {
		harm func(*testing.T, *fake, backend)
		says []string // beginnings
		at   []string // the attributes that it names
	}{
		"free": {harm: func(*testing.T, *fake, backend) {}},
		"another instance's port": {
			harm: func(t *testing.T, _ *fake, b backend) {
				b.mustCreate(t, "other", api.InstanceSpec{GamePort: b.Ports[0]})
			},
			says: []string{"W Port held by another instance: "}, at: []string{"game_port"},
		},
		"a program's port": {
			harm: func(_ *testing.T, f *fake, b backend) { f.programs[b.Ports[0]] = true }, says: []string{"E Port not available: "}, at: []string{"game_port"},
		},
		"manager unreachable": {harm: fails(fault{cut: true}), says: []string{"W Unable to check plan: "}, at: []string{""}},
		"manager hangs":       {harm: fails(fault{hang: true}), says: []string{"W Unable to check plan: "}, at: []string{""}},
		"manager loading":     {harm: fails(fault{status: 503, code: api.CodeNotReady}), says: []string{"W Unable to check plan: "}, at: []string{""}},
		"ports exhausted":     {harm: fails(fault{status: 507, code: api.CodePortsExhausted}), says: []string{"E Unable to plan instance: "}, at: []string{""}},
		"invalid":             {harm: refuses(), says: []string{"E Invalid instance: "}, at: []string{""}},
		"invalid probe":       {harm: refuses("body.probe"), says: []string{"E Invalid instance: "}, at: []string{"probe"}},
		"invalid in many places": {
			harm: refuses("body.host_ip", "body.services.game.probe", "body.services.game.public_port", "body.what_is_to_come"),
			says: []string{"E Invalid instance: No.", "E Invalid instance: No.", "E Invalid instance: No.", "E Invalid instance: Body.what_is_to_come: no."},
			at:   []string{"host_ip", "services.game.probe", "services.game.public_port", ""},
		},
		"wrong token": {harm: fails(fault{status: 401, code: api.CodeUnauthorized}), says: []string{"E Unable to plan instance: "}, at: []string{""}},
		"exists with another": {
			harm: func(t *testing.T, _ *fake, b backend) { b.mustCreate(t, "srv", api.InstanceSpec{GamePort: b.Ports[1]}) },
			says: []string{"W Instance exists already: "}, at: []string{"server_id"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			b := f.backend()
			tt.harm(t, f, b)
			creates := f.manager.seen(createRoute)
			r := b.rpc(t)
			_, diags := r.plan(nil, b.resource(nil))
			mustBegin(t, diags, tt.says)
			if got := attributes(diags); !slices.Equal(got, tt.at) {
				t.Errorf("it names the attributes %q, want %q", got, tt.at)
			}
			if f.manager.seen("dry "+createRoute) == 0 || f.manager.seen(createRoute) != creates {
				t.Errorf("calls were %q, want dry runs only", f.manager.calls)
			}
		})
	}
}

// TestSilentManagerIsAskedOnce: a manager that does not answer costs a plan one wait and one warning, however many instances are new.
func TestSilentManagerIsAskedOnce(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	f.manager.fail("*", fault{hang: true})
	r := b.rpc(t)
	_, diags := r.plan(nil, b.resource(nil))
	mustSay(t, diags, "W Unable to check plan: ")
	asked := f.manager.seen("")
	for range 5 {
		_, diags = r.plan(nil, b.resource(nil))
		mustBeSilent(t, diags)
	}
	if n := f.manager.seen(""); asked == 0 || n != asked {
		t.Errorf("the manager was asked %d times for the first plan, and %d times for five more", asked, n-asked)
	}
	f.manager.mend()
	f.programs[b.Ports[0]] = true
	_, diags = b.rpc(t).plan(nil, b.resource(nil)) // a new run
	mustSay(t, diags, "E Port not available: ")
}

// TestPlanOfReplacement: the instance that makes place is no obstacle, although Terraform plans the new one as if there
// were none.
func TestPlanOfReplacement(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	r := b.rpc(t)
	state, diags := r.apply(t.Context(), nil, b.resource(nil))
	r.must(nil, diags)

	r = b.rpc(t) // a new run
	state, diags = r.read(state)
	mustBeSilent(t, diags)
	renamed := b.resource(values{"server_id": text("srv2")})
	_, diags = r.plan(&state, renamed)
	mustBeSilent(t, diags)
	_, diags = r.plan(nil, renamed)
	mustBeSilent(t, diags)
	_, diags = r.plan(nil, b.resource(values{"game_port": number(b.Ports[1])})) // -replace, with another port
	mustBeSilent(t, diags)
}

// TestUnknownProviderConfiguration: neither the environment nor a more general token takes the place of a value that is not
// known yet.
func TestUnknownProviderConfiguration(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	env := map[string]string{envManagerURL: b.ManagerURL, envToken: fakeToken, envAgentToken: fakeToken}

	known := newRPC(t, env, values{}) // the positive control: the environment does work
	_, diags := known.plan(nil, b.resource(nil))
	mustBeSilent(t, diags)
	if f.manager.seen("dry ") != 1 {
		t.Fatalf("calls were %q, want one dry run", f.manager.calls)
	}

	for _, name := range []string{"manager_url", "token"} {
		r := newRPC(t, env, values{name: unknownText()})
		_, diags := r.plan(nil, b.resource(nil))
		mustBeSilent(t, diags)
		if f.manager.seen("") != 1 {
			t.Errorf("with an unknown %s the manager was asked: %q", name, f.manager.calls)
		}
	}
	state, diags := known.apply(t.Context(), nil, b.resource(nil))
	known.must(nil, diags)
	for _, name := range []string{"manager_url", "token"} {
		r := newRPC(t, env, values{name: unknownText()})
		asked := f.manager.seen("")
		after, diags := r.read(state)
		mustSay(t, diags, "W Instances not refreshed: The provider's "+name+" cannot be used: it is known only after apply.")
		if !after.Equal(state) {
			t.Errorf("the state is %s, was %s", after, state)
		}
		_, diags = r.read(state)
		mustBeSilent(t, diags) // it is said once
		_, diags = r.importByIdentity(t.Context(), "srv")
		mustSay(t, diags, "E Unable to read instance: The provider's "+name+" cannot be used")
		if n := f.manager.seen("") - asked; n != 0 {
			t.Errorf("with an unknown %s the manager was asked %d times", name, n)
		}
	}
	_, diags = newRPC(t, env, values{}).change(t.Context(), held{state: state}, nil)
	known.must(nil, diags)
	agentCalls := f.agent.seen("")
	for _, name := range []string{"agent_token", "agent_tokens"} {
		value := unknownText()
		if name == "agent_tokens" {
			value = tftypes.NewValue(tftypes.Map{ElementType: tftypes.String}, tftypes.UnknownValue)
		}
		r := newRPC(t, env, values{name: value})
		_, diags := r.apply(t.Context(), nil, b.resource(nil))
		mustSay(t, diags, "E Unable to create instance: ")
		if f.agent.seen("") != agentCalls || len(f.instances) != 0 {
			t.Errorf("with an unknown %s there were calls %q, %q", name, f.agent.calls, f.manager.calls)
		}
	}
}

// TestAgentTokens: an agent gets the token that is meant for it.
func TestAgentTokens(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	one := tftypes.NewValue(tftypes.Map{ElementType: tftypes.String}, map[string]tftypes.Value{b.AgentURL + "/": text(fakeToken)})
	for name, config := range map[string]values{
		"one for this agent": {"token": text(fakeToken), "agent_token": text("wrong"), "agent_tokens": one},
		"one for agents":     {"token": text(fakeToken), "agent_token": text(fakeToken)},
		"one for all":        {"token": text(fakeToken)},
	} {
		r := newRPC(t, nil, config.with(values{"manager_url": text(b.ManagerURL)}))
		_, diags := r.apply(t.Context(), nil, b.resource(nil))
		for _, said := range summaries(diags) {
			if !strings.HasPrefix(said, "W Instance existed already") { // by the case before
				t.Errorf("%s: %s", name, said)
			}
		}
	}
	r := newRPC(t, nil, values{"manager_url": text(b.ManagerURL), "token": text(fakeToken), "agent_token": text("wrong")})
	_, diags := r.apply(t.Context(), nil, b.resource(nil))
	if len(diags) == 0 || diags[len(diags)-1].Summary != "Unable to configure client" {
		t.Errorf("a wrong agent token gave %q", summaries(diags))
	}
}

// TestKilledProvider: an apply whose provider was killed leaves things that Terraform does not know of. The next one takes
// them over.
func TestKilledProvider(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*testing.T, *fake, backend){
		"after everything": func(t *testing.T, _ *fake, b backend) {
			r := b.rpc(t)
			_, diags := r.apply(t.Context(), nil, b.resource(nil)) // the state is lost
			r.must(nil, diags)
		},
		"after the server half": func(t *testing.T, _ *fake, b backend) {
			b.mustCreate(t, "srv", api.InstanceSpec{GamePort: b.Ports[0], AgentURL: b.AgentURL})
		},
	}
	for name, kill := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			b := f.backend()
			kill(t, f, b)
			r := b.rpc(t)
			state, diags := r.apply(t.Context(), nil, b.resource(nil))
			mustSay(t, diags, "W Instance existed already: ")
			if status := r.fields(state)["status"]; !status.Equal(text("healthy")) {
				t.Errorf("status is %s", status)
			}
			b.mustHave(t, 1, 1)
		})
	}
}

// TestUpdateOfOwnSettingsCallsNobody, with a change that must call as the positive control.
func TestUpdateOfOwnSettingsCallsNobody(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	r := b.rpc(t)
	state, diags := r.apply(t.Context(), nil, b.resource(nil))
	r.must(nil, diags)
	before := f.manager.seen("") + f.agent.seen("")

	own := values{
		"force_destroy": tftypes.NewValue(tftypes.Bool, true), "wait_for_connection": tftypes.NewValue(tftypes.Bool, false),
		"timeouts": tftypes.NewValue(r.schema.AttributeTypes["timeouts"], map[string]tftypes.Value{
			"create": text("9m"), "update": tftypes.NewValue(tftypes.String, nil), "delete": tftypes.NewValue(tftypes.String, nil),
		}),
	}
	planned, diags := r.plan(&state, b.resource(own))
	mustBeSilent(t, diags)
	if !planned.IsFullyKnown() {
		t.Errorf("the plan has unknown values: %s", planned)
	}
	state, diags = r.apply(t.Context(), &state, b.resource(own))
	mustBeSilent(t, diags)
	if !state.Equal(planned) {
		t.Errorf("the state is %s, planned was %s", state, planned)
	}
	if after := f.manager.seen("") + f.agent.seen(""); after != before {
		t.Errorf("there were %d calls, want none", after-before)
	}

	_, diags = r.apply(t.Context(), &state, b.resource(own.with(values{
		"labels": tftypes.NewValue(tftypes.Map{ElementType: tftypes.String}, map[string]tftypes.Value{"a": text("b")}),
	})))
	mustBeSilent(t, diags)
	if f.manager.seen(updateRoute) != 1 {
		t.Error("a change of labels called nobody: the count above proves nothing")
	}
}

// TestSilentAgentIsToldOnce: a dead agent costs a run one warning and one wait, however many resources it has.
func TestSilentAgentIsToldOnce(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	r := b.rpc(t)
	state, diags := r.apply(t.Context(), nil, b.resource(nil))
	r.must(nil, diags)
	f.agent.fail("*", fault{hang: true})
	asked := f.agent.seen("")

	r = b.rpc(t) // a new run
	again, diags := r.read(state)
	mustSay(t, diags, "W Unable to read client: ")
	if !again.Equal(state) {
		t.Errorf("the state is %s, was %s", again, state)
	}
	for range 5 {
		_, diags = r.read(state)
		mustBeSilent(t, diags)
	}
	if n := f.agent.seen("") - asked; n != 1 {
		t.Errorf("the agent was asked %d times, want once", n)
	}
}

// TestRepeatedCreateKeepsItsKey: however often its answer is lost, a create finds what it made to be its own.
func TestRepeatedCreateKeepsItsKey(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	f.manager.fail(createRoute, fault{lost: true, times: 4}) // more than one call of the client tries
	_, diags := b.rpc(t).apply(t.Context(), nil, b.resource(nil))
	mustBeSilent(t, diags)
	if posts := f.manager.seen(createRoute); posts != 5 {
		t.Errorf("%d POSTs, want 5", posts)
	}
}

// TestServerGoneAgentSilent: nobody knows whether the client is gone too, so the instance is not held to be.
func TestServerGoneAgentSilent(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	r := b.rpc(t)
	state, diags := r.apply(t.Context(), nil, b.resource(nil))
	r.must(nil, diags)
	b.mustDelete(t, "srv")
	f.agent.fail("*", fault{cut: true})
	state, diags = r.read(state)
	mustSay(t, diags, "W Unable to read client: ")
	if state.IsNull() {
		t.Fatal("the instance was dropped from the state")
	}
	if fields := r.fields(state); !fields["status"].Equal(text("down")) || fields["client_config_sha256"].IsNull() {
		t.Errorf("the state is %s", state)
	}
}

// TestInterruptedCreate: ^C undoes what was begun.
func TestInterruptedCreate(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	f.deaf = true
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	f.manager.fail(configRoute, fault{before: interrupt, times: 1})
	r := b.rpc(t)
	state, diags := r.apply(ctx, nil, b.resource(nil))
	mustSay(t, diags, "E Unable to ")
	if !state.IsNull() {
		t.Errorf("the state is %s, want none", state)
	}
	b.mustHave(t, 0, 0)
}

// TestServerVanishesAfterThePlan: the plan said in place, so the update does not create behind its back.
func TestServerVanishesAfterThePlan(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	r := b.rpc(t)
	state, diags := r.apply(t.Context(), nil, b.resource(nil))
	r.must(nil, diags)
	b.mustDelete(t, "srv")
	after, diags := r.apply(t.Context(), &state, b.resource(values{"game_port": number(b.Ports[1])}))
	mustSay(t, diags, "E Unable to update instance: ")
	if !after.Equal(state) {
		t.Errorf("the state is %s, was %s", after, state)
	}
}

// TestOldAgentUnreachableWarns, since the old client may still run.
func TestOldAgentUnreachableWarns(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	r := b.rpc(t)
	state, diags := r.apply(t.Context(), nil, b.resource(nil))
	r.must(nil, diags)
	f.agent.fail("*", fault{cut: true})
	state, diags = r.apply(t.Context(), &state, b.resource(values{"agent_url": tftypes.NewValue(tftypes.String, nil)}))
	mustSay(t, diags, "W Old client may still run: ")
	if hash := r.fields(state)["client_config_sha256"]; !hash.IsNull() {
		t.Errorf("client_config_sha256 is %s", hash)
	}
}

// TestDriftIsPlanned: drift becomes a change in place although the configuration is the same.
func TestDriftIsPlanned(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	r := b.rpc(t)
	state, diags := r.apply(t.Context(), nil, b.resource(nil))
	r.must(nil, diags)
	planned, _ := r.plan(&state, b.resource(nil))
	if !planned.Equal(state) {
		t.Fatalf("without drift the plan is %s, want %s", planned, state)
	}
	b.mustDelete(t, "srv")
	state, diags = r.read(state)
	mustBeSilent(t, diags)
	planned, diags = r.plan(&state, b.resource(nil))
	mustBeSilent(t, diags)
	fields := r.fields(planned)
	for _, name := range []string{"status", "revision", "client_config_sha256", "rathole_port", "endpoints"} {
		if fields[name].IsKnown() {
			t.Errorf("%s is planned as %s, want unknown", name, fields[name])
		}
	}
	var drift []tftypes.Value
	if err := fields["drift"].As(&drift); err != nil || len(drift) != 0 {
		t.Errorf("drift is planned as %s", fields["drift"])
	}
}
