package provider

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// Create implements resource.Resource.
//
// Terraform marks what a failed create leaves in the state as tainted, and its next apply destroys that first. So a
// failure here undoes what this call made, and only that, and leaves no state; the next apply creates again. State stays
// only where undoing failed, because then something is left to be destroyed.
func (r *instanceResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan instanceModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(identify(ctx, resp.Identity, plan.ServerID)...)
	timeout, diags := plan.Timeouts.Create(ctx, defaultCreateTimeout)
	resp.Diagnostics.Append(diags...)
	spec, _, diags := plan.spec(ctx)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	mgr, agent, err := r.halves(plan.clientURL())
	if err != nil {
		fail(&resp.Diagnostics, "Unable to create instance", err, nothingCreated)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	w := &work{connections: r.connections, mgr: mgr, agent: agent, id: plan.ServerID.ValueString(), key: uuid.NewString(), creates: true}
	release, err := r.hold(ctx, w.id)
	if err != nil {
		fail(&resp.Diagnostics, "Unable to create instance", err, nothingCreated)
		return
	}
	defer release()
	if err := w.agentReady(ctx); err != nil {
		fail(&resp.Diagnostics, "Unable to reach agent", err, nothingCreated)
		return
	}
	inst, err := w.createServer(ctx, spec)
	if err != nil && w.unsure {
		w.settle(ctx, plan, spec, err, resp)
		return
	}
	if err != nil {
		reportCreate(&resp.Diagnostics, w.id, err)
		return
	}
	if !w.serverMade {
		resp.Diagnostics.AddWarning("Instance existed already", fmt.Sprintf("Instance %s was on the manager already, with this very specification, "+
			"as an apply that was cut short leaves it. This resource manages it from now on.", w.id))
	}
	resp.Diagnostics.Append(plan.take(ctx, inst)...)
	plan.ClientConfigSHA256, plan.Drift = types.StringNull(), stringList([]string{clientHalf + "not configured yet"})
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)

	summary := "Unable to configure client"
	hash := types.StringNull()
	if err = w.lookForClient(ctx); err == nil {
		hash, err = w.configureClient(ctx)
	}
	if err == nil && plan.waits() {
		summary = "Unable to connect instance"
		inst, err = w.awaitHealthy(ctx)
	}
	if err != nil {
		w.undo(ctx, summary, err, resp)
		return
	}
	resp.Diagnostics.Append(plan.take(ctx, inst)...)
	plan.ClientConfigSHA256, plan.Drift = hash, stringList(nil)
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	r.wasCreated(w.id)
}

// takeOutCreateBeforeDestroy follows a comma.
const takeOutCreateBeforeDestroy = "take create_before_destroy out of its lifecycle block, and of those of the resources that depend on it: " +
	"what the old instance has (its name, its ports) is free only once it is destroyed."

// nothingCreated and nothingChanged end the errors that come before anything was done.
const (
	nothingCreated = "Nothing was created on the manager, nor on an agent. Mend the cause and apply again."
	nothingChanged = "Nothing was changed, on neither half. Mend the cause and apply again."
)

func reportCreate(diags *diag.Diagnostics, id string, err error) {
	const summary = "Unable to create instance"
	switch {
	case client.HasCode(err, api.CodeInstanceExists):
		diags.AddError(summary, explain(err)+"\n\n"+importHint(id)+"\n\nIf this apply is to replace it, "+takeOutCreateBeforeDestroy+
			" If this apply is to destroy it under another address, apply again.")
	case heldByInstance(err):
		fail(diags, summary, err, "It was waited for that instance to give the port up. If this apply is to replace it, "+takeOutCreateBeforeDestroy, nothingCreated)
	default:
		fail(diags, summary, err, nothingCreated)
	}
}
