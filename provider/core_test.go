package provider

import (
	"context"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// held is what Terraform holds of a resource between two runs.
type held struct {
	state    tftypes.Value // null: nothing
	private  []byte
	identity *tfprotov6.ResourceIdentityData
	tainted  bool
}

// nothing is a resource that does not exist.
func (r *rpc) nothing() held { return held{state: tftypes.NewValue(r.schema, nil)} }

// refresh reads what is held.
func (r *rpc) refresh(ctx context.Context, h held) (held, []*tfprotov6.Diagnostic) {
	r.t.Helper()
	if h.state.IsNull() {
		return h, nil
	}
	resp, err := r.ReadResource(ctx, &tfprotov6.ReadResourceRequest{
		TypeName: "rathole_instance", CurrentState: r.dynamic(r.schema, h.state), Private: h.private, CurrentIdentity: h.identity,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if failed(resp.Diagnostics) {
		return h, resp.Diagnostics
	}
	state := r.decode(resp.NewState)
	return held{state, resp.Private, resp.NewIdentity, h.tainted && !state.IsNull()}, resp.Diagnostics
}

// change plans and applies a change of what is held to a configuration, nil for none, as Terraform does: a plan with an error
// is not applied, and a create that fails and leaves a state leaves it tainted.
func (r *rpc) change(ctx context.Context, h held, config values) (held, []*tfprotov6.Diagnostic) {
	r.t.Helper()
	if h.tainted && config != nil {
		unknowing := h
		unknowing.private = nil // the plan is that of a create, and so is its private state
		gone, diags := r.change(ctx, unknowing, nil)
		if !gone.state.IsNull() {
			return gone, diags
		}
		made, more := r.change(ctx, gone, config)
		return made, append(diags, more...)
	}
	p, said := r.intend(ctx, h, config)
	if p == nil {
		return h, said
	}
	next, diags := r.carryOut(ctx, h, *p)
	return next, append(said, diags...)
}

// intent is a plan that is not applied yet.
type intent struct {
	planned, wanted tftypes.Value // null: nothing
	private         []byte
}

// intend plans a change of what is held to a configuration, nil for none; nil if the plan failed or is empty.
func (r *rpc) intend(ctx context.Context, h held, config values) (*intent, []*tfprotov6.Diagnostic) {
	r.t.Helper()
	if config == nil {
		nothing := tftypes.NewValue(r.schema, nil)
		return &intent{nothing, nothing, h.private}, nil
	}
	prior := &h.state
	if h.state.IsNull() {
		prior = nil
	}
	resp := r.planned(ctx, prior, config, h)
	if failed(resp.Diagnostics) || ctx.Err() != nil {
		return nil, resp.Diagnostics
	}
	p := &intent{r.decode(resp.PlannedState), r.object(config), resp.PlannedPrivate}
	if p.planned.Equal(h.state) {
		return nil, resp.Diagnostics
	}
	return p, resp.Diagnostics
}

// carryOut applies a plan.
func (r *rpc) carryOut(ctx context.Context, h held, p intent) (held, []*tfprotov6.Diagnostic) {
	r.t.Helper()
	resp, err := r.ApplyResourceChange(ctx, &tfprotov6.ApplyResourceChangeRequest{
		TypeName: "rathole_instance", PriorState: r.dynamic(r.schema, h.state), PlannedState: r.dynamic(r.schema, p.planned),
		Config: r.dynamic(r.schema, p.wanted), PlannedPrivate: p.private, PlannedIdentity: h.identity,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	next := held{state: r.decode(resp.NewState), private: resp.Private, identity: resp.NewIdentity}
	next.tainted = h.state.IsNull() && !next.state.IsNull() && failed(resp.Diagnostics)
	if !h.state.IsNull() && failed(resp.Diagnostics) {
		next.tainted = h.tainted
	}
	return next, resp.Diagnostics
}

// importByIdentity imports an instance, and reads it.
func (r *rpc) importByIdentity(ctx context.Context, id string) (held, []*tfprotov6.Diagnostic) {
	r.t.Helper()
	return r.imported(ctx, &tfprotov6.ImportResourceStateRequest{TypeName: "rathole_instance", Identity: r.identityOf(id)})
}

// importByID imports an instance, as `terraform import` does.
func (r *rpc) importByID(ctx context.Context, id string) (held, []*tfprotov6.Diagnostic) {
	r.t.Helper()
	return r.imported(ctx, &tfprotov6.ImportResourceStateRequest{TypeName: "rathole_instance", ID: id})
}

func (r *rpc) imported(ctx context.Context, req *tfprotov6.ImportResourceStateRequest) (held, []*tfprotov6.Diagnostic) {
	r.t.Helper()
	resp, err := r.ImportResourceState(ctx, req)
	if err != nil {
		r.t.Fatal(err)
	}
	if failed(resp.Diagnostics) {
		return r.nothing(), resp.Diagnostics
	}
	one := resp.ImportedResources[0]
	h, diags := r.refresh(ctx, held{state: r.decode(one.State), private: one.Private, identity: one.Identity})
	if failed(diags) {
		return r.nothing(), diags
	}
	return h, diags
}

// identityOf is the identity of an instance as Terraform passes it.
func (r *rpc) identityOf(id string) *tfprotov6.ResourceIdentityData {
	typ := tftypes.Object{AttributeTypes: map[string]tftypes.Type{"server_id": tftypes.String}}
	return &tfprotov6.ResourceIdentityData{IdentityData: r.dynamic(typ, tftypes.NewValue(typ, map[string]tftypes.Value{"server_id": text(id)}))}
}

// mustIdentify checks that an identity is that of an instance.
func (r *rpc) mustIdentify(data *tfprotov6.ResourceIdentityData, id string) {
	r.t.Helper()
	if data == nil || data.IdentityData == nil {
		r.t.Errorf("there is no identity, want that of %s", id)
		return
	}
	v, err := data.IdentityData.Unmarshal(tftypes.Object{AttributeTypes: map[string]tftypes.Type{"server_id": tftypes.String}})
	if err != nil {
		r.t.Fatal(err)
	}
	if got := r.fields(v)["server_id"]; !got.Equal(text(id)) {
		r.t.Errorf("the identity is %s, want %s", got, id)
	}
}

func failed(diags []*tfprotov6.Diagnostic) bool {
	for _, d := range diags {
		if d.Severity == tfprotov6.DiagnosticSeverityError {
			return true
		}
	}
	return false
}

// fieldsOf is the attributes of what is held.
func (h held) fieldsOf(t *testing.T) map[string]tftypes.Value {
	t.Helper()
	fields := map[string]tftypes.Value{}
	if err := h.state.As(&fields); err != nil {
		t.Fatal(err)
	}
	return fields
}
