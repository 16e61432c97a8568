package provider

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// TestForceDestroy of the provider block holds for every resource that does not say otherwise.
func TestForceDestroy(t *testing.T) {
	t.Parallel()
	yes, no, unset := tftypes.NewValue(tftypes.Bool, true), tftypes.NewValue(tftypes.Bool, false), tftypes.NewValue(tftypes.Bool, nil)
	unknown := tftypes.NewValue(tftypes.Bool, tftypes.UnknownValue)
	for name, tt := range map[string]struct {
		provider, resource tftypes.Value
		destroys           bool
	}{
		"neither":                          {unset, unset, false},
		"provider":                         {yes, unset, true},
		"resource":                         {unset, yes, true},
		"provider, but not this resource":  {yes, no, false},
		"resource, though not in general":  {no, yes, true},
		"provider, known only after apply": {unknown, unset, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			b := f.backend()
			run := func() *rpc { // one run of Terraform
				return newRPC(t, nil, values{"manager_url": text(b.ManagerURL), "token": text(fakeToken), "force_destroy": tt.provider})
			}
			r := run()
			config := b.resource(values{"force_destroy": tt.resource, "timeouts": shortTimeouts(r)})
			h, diags := r.change(t.Context(), r.nothing(), config)
			mustBeSilent(t, diags)
			f.agent.fail("*", fault{cut: true})
			h, diags = run().change(t.Context(), h, nil)
			if h.state.IsNull() != tt.destroys || (len(f.instances) == 0) != tt.destroys {
				t.Fatalf("destroyed: %t, %q", h.state.IsNull(), summaries(diags))
			}
			if tt.destroys {
				mustSay(t, diags, "W Client left behind: ")
				return
			}
			mustSay(t, diags, "E Unable to stop client: ")
			if !strings.Contains(diags[0].Detail, "force_destroy = true in the provider block") {
				t.Errorf("the way out is not told: %s", diags[0].Detail)
			}
		})
	}
}

// TestForceDestroyHeedsALiveAgent: what an agent refuses is no sign that its host is gone.
func TestForceDestroyHeedsALiveAgent(t *testing.T) {
	t.Parallel()
	for code, status := range map[api.Code]int{api.CodeUnauthorized: 401, api.CodeInvalidRequest: 422, api.CodeInternal: 500} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			b := f.backend()
			r := b.rpc(t)
			config := b.resource(values{"force_destroy": tftypes.NewValue(tftypes.Bool, true), "timeouts": shortTimeouts(r)})
			h, diags := r.change(t.Context(), r.nothing(), config)
			mustBeSilent(t, diags)
			f.agent.fail(stopRoute, fault{status: status, code: code})
			h, diags = b.rpc(t).change(t.Context(), h, nil)
			mustSay(t, diags, "E Unable to stop client: ")
			if !strings.Contains(diags[0].Detail, "The agent answers") {
				t.Errorf("the way out is not told: %s", diags[0].Detail)
			}
			if h.state.IsNull() {
				t.Error("the state let go of it")
			}
			b.mustHave(t, 1, 1)
			f.agent.mend()
			_, diags = b.rpc(t).change(t.Context(), h, nil)
			mustBeSilent(t, diags)
		})
	}
}

// TestForceDestroyWaitsForAStop: an agent takes up to 5 s to end an engine, and that leaves no client behind.
func TestForceDestroyWaitsForAStop(t *testing.T) {
	t.Parallel()
	schemaTypes() // outside of any bubble
	bubble(t, scenario{before: forced, act: destroys}, func(m *matrix) {
		m.fake.agent.fail(stopRoute, fault{before: func() { time.Sleep(5 * time.Second) }}) // in virtual time
		h, diags := m.operate(m.t.Context(), m.run(nil), false)
		mustBeSilent(m.t, diags)
		if !h.state.IsNull() {
			m.t.Errorf("the state is %s", h.state)
		}
		m.mustHaveNothing()
	})
}

// shortTimeouts let what fails, fail within a second.
func shortTimeouts(r *rpc) tftypes.Value {
	return tftypes.NewValue(r.schema.AttributeTypes["timeouts"], map[string]tftypes.Value{"create": text("1s"), "update": text("1s"), "delete": text("1s")})
}
