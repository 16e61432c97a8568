package provider

import (
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// TestLabelsOfADisabledInstance are the manager's alone: the agent may be dead.
func TestLabelsOfADisabledInstance(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	r := b.rpc(t)
	off := values{"enabled": tftypes.NewValue(tftypes.Bool, false), "timeouts": shortTimeouts(r)}
	state, diags := r.apply(t.Context(), nil, b.resource(nil))
	mustBeSilent(t, diags)
	state, diags = r.apply(t.Context(), &state, b.resource(off))
	mustBeSilent(t, diags)
	if f.agent.seen(stopRoute) != 1 {
		t.Error("the client was not stopped")
	}
	f.agent.fail("*", fault{cut: true})
	calls := f.agent.seen("")
	labels := tftypes.NewValue(tftypes.Map{ElementType: tftypes.String}, map[string]tftypes.Value{"a": text("b")})
	state, diags = r.apply(t.Context(), &state, b.resource(off.with(values{"labels": labels})))
	mustBeSilent(t, diags)
	if !r.fields(state)["labels"].Equal(labels) || f.instances["srv"].Labels["a"] != "b" || f.agent.seen("") != calls {
		t.Errorf("the labels are %v, in the state %s; the agent was asked %d times", f.instances["srv"].Labels, r.fields(state)["labels"], f.agent.seen("")-calls)
	}
}
