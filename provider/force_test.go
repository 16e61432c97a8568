package provider

import (
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
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
			r := newRPC(t, nil, values{"manager_url": text(b.ManagerURL), "token": text(fakeToken), "force_destroy": tt.provider})
			config := b.resource(values{"force_destroy": tt.resource, "timeouts": shortTimeouts(r)})
			h, diags := r.change(t.Context(), r.nothing(), config)
			mustBeSilent(t, diags)
			f.agent.fail("*", fault{cut: true})
			h, diags = r.change(t.Context(), h, nil)
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

// shortTimeouts let what fails, fail within a second.
func shortTimeouts(r *rpc) tftypes.Value {
	return tftypes.NewValue(r.schema.AttributeTypes["timeouts"], map[string]tftypes.Value{"create": text("1s"), "update": text("1s"), "delete": text("1s")})
}
