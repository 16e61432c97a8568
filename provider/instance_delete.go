package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"

	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// Delete implements resource.Resource: the client first, which would else try for ever to reach a server that is gone, then
// the server. What is gone already is deleted.
func (r *instanceResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var state instanceModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := state.Timeouts.Delete(ctx, defaultDeleteTimeout)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	id := state.ServerID.ValueString()
	mgr, err := r.manager()
	if err != nil {
		fail(&resp.Diagnostics, "Unable to delete instance", err, instanceKept)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	release, err := r.hold(ctx, id)
	if err != nil {
		fail(&resp.Diagnostics, "Unable to delete instance", err, instanceKept)
		return
	}
	defer release()
	if r.isNew(id) {
		warnOfNew(id, &resp.Diagnostics)
		return
	}

	key, more := unsettledCreate(ctx, req.Private)
	resp.Diagnostics.Append(more...)
	if resp.Diagnostics.HasError() {
		return
	}
	if key == "" && state.Revision.IsNull() {
		// Terraform destroys what is tainted without its private state; a refresh clears the doubt before.
		resp.Diagnostics.AddError("Unable to delete instance", fmt.Sprintf("The manager did not answer when instance %s was to be created, and has not been asked since "+
			"whether it made it. An instance of that name may be somebody else's, so nothing was destroyed.\n\n"+
			"Refresh first: apply again or destroy again without -refresh=false. The refresh says what else is to be done, if anything.", id))
		return
	}
	if key != "" {
		if ours, ok := r.stillOurs(ctx, state, key, "Unable to delete instance", instanceKept, &resp.Diagnostics); !ok || !ours {
			return
		}
	}
	next := instanceKept
	if url := state.AgentURL.ValueString(); url != "" {
		force := r.forced(state)
		patience := timeout
		if force {
			patience = r.shortly(ctx)
		}
		if err := r.stopClient(ctx, url, id, patience); err != nil && (!force || !unreachable(err)) {
			way := "If that host is gone for good, set force_destroy = true in the provider block, or in the resource and apply, and destroy again."
			if !unreachable(err) {
				way = "The agent answers, so force_destroy does not pass over it. Mend the cause and destroy it again."
			}
			resp.Diagnostics.AddError("Unable to stop client", explain(err)+"\n\nThe instance is kept, on the manager and in the state. "+way)
			return
		} else if err != nil {
			resp.Diagnostics.AddWarning("Client left behind", explain(err)+"\n\nforce_destroy is set, so the server half is removed all the same. "+
				"If that host comes back, its client keeps trying to reach a server that is gone; stop it on the agent.")
		} else {
			next = "Its client is stopped. " + next
		}
	}
	err = persist(ctx, func(ctx context.Context) error { return mgr.Delete(ctx, id) })
	if err != nil && !client.IsNotFound(err) {
		fail(&resp.Diagnostics, "Unable to delete instance", err, next)
	}
}

// warnOfNew tells why a destroy touches nothing. Under create_before_destroy, or under another address, the new object of an
// instance is created before its old one is destroyed; with the same specification the create finds the old one's instance.
func warnOfNew(id string, diags *diag.Diagnostics) {
	diags.AddWarning("Instance not destroyed", fmt.Sprintf("Instance %[1]s is what this very apply has created, or taken over, before it came to destroy the old object of "+
		"that server_id. There is one instance of a server_id, so nothing was touched: %[1]s runs on, with its players, processes and secrets.\n\n"+
		"If new processes were the aim, invoke the action rathole_instance_restart, and for new secrets rathole_instance_rotate_secret (Terraform 1.14 or later). "+
		"A replacement, which drops the players, needs a lifecycle without create_before_destroy.", id))
}

const instanceKept = "The instance is kept in the state. Mend the cause and destroy it again."

// forced tells whether an agent that cannot be reached shall not hold up a destroy. A value that is not known is no yes.
func (r *instanceResource) forced(state instanceModel) bool {
	if state.ForceDestroy.IsNull() {
		return r.forceDestroy.ValueBool()
	}
	return state.ForceDestroy.ValueBool()
}

// stillOurs tells whether the instance of a create that nobody answered is this resource's: that create may have met, under the
// same name, an instance of somebody else. ok is false if the doubt cannot be cleared; the error ends with next.
func (r *instanceResource) stillOurs(ctx context.Context, state instanceModel, key, summary, next string, diags *diag.Diagnostics) (ours, ok bool) {
	spec, _, more := state.spec(ctx)
	diags.Append(more...)
	mgr, err := r.manager()
	if err != nil {
		fail(diags, summary, err, next)
		return false, false
	}
	id := state.ServerID.ValueString()
	ours, err = r.madeBy(ctx, mgr, id, spec, key)
	if err != nil {
		fail(diags, summary, fmt.Errorf("asking whether the create that was not answered made it: %w", err), next)
		return false, false
	}
	if !ours {
		diags.AddWarning("Instance was not created", fmt.Sprintf("The manager did not answer when instance %s was to be created. It says now that it did not create it, "+
			"so it is dropped from the state. An instance of that name that exists is somebody else's, and was left alone.", id))
	}
	return ours, true
}

// shortly is how long to wait for an agent to stop what is not essential: at most half of what time is left, for the rest
// belongs to what is.
func (r *instanceResource) shortly(ctx context.Context) time.Duration {
	until, ok := ctx.Deadline()
	if !ok {
		return r.limits.agentStop
	}
	return min(r.limits.agentStop, time.Until(until)/2)
}

// stopClient ends a client on an agent; one that does not exist is ended.
func (r *instanceResource) stopClient(ctx context.Context, url, id string, patience time.Duration) error {
	a, err := r.agent(url)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = persist(ctx, func(ctx context.Context) error {
		_, err := a.Stop(ctx, id)
		return err
	})
	if err != nil && !client.IsNotFound(err) {
		return fmt.Errorf("stopping the client: %w", err)
	}
	return nil
}
