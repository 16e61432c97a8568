package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// Update implements resource.Resource: the server first, then the client at once, as rathole reloads fastest. It also
// repairs: a half that is gone is made again. A failure leaves in the state what is true by then.
func (r *instanceResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var prior, plan instanceModel
	resp.Diagnostics.Append(req.State.Get(ctx, &prior)...)
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(identify(ctx, resp.Identity, plan.ServerID)...)
	if !plan.Revision.IsUnknown() {
		// ModifyPlan leaves the revision known only if nothing but Terraform's own settings changes: no call is needed.
		resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
		return
	}
	if key, _ := unsettledCreate(ctx, req.Private); key != "" { // somebody has said that the instance is this one
		resp.Diagnostics.Append(rememberCreate(ctx, resp.Private, "")...)
	}
	timeout, diags := plan.Timeouts.Update(ctx, defaultUpdateTimeout)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	mgr, agent, err := r.halves(plan.clientURL())
	if err != nil {
		fail(&resp.Diagnostics, "Unable to update instance", err, nothingChanged)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	u := &update{
		work:     &work{connections: r.connections, mgr: mgr, agent: agent, id: plan.ServerID.ValueString(), key: uuid.NewString()},
		patience: timeout, resource: r, prior: prior, plan: plan, state: &resp.State, diags: &resp.Diagnostics,
	}
	u.run(ctx)
}

// update is one Update under way.
type update struct {
	*work
	resource    *instanceResource
	patience    time.Duration // what the whole update may take
	prior, plan instanceModel
	state       *tfsdk.State
	diags       *diag.Diagnostics
}

func (u *update) run(ctx context.Context) {
	// Labels and probes are the manager's alone; everything else concerns the client, whose agent must then be there before the server
	// changes under it.
	if drifted(u.prior) || !u.plan.sameTunnel(u.prior) {
		if err := u.agentReady(ctx); err != nil {
			fail(u.diags, "Unable to reach agent", err, nothingChanged)
			return
		}
	}
	if !u.leaveOldAgent(ctx) {
		return
	}
	inst, err := u.server(ctx)
	if err != nil {
		u.reportServer(err)
		return
	}
	hash := u.prior.ClientConfigSHA256
	if u.moved() {
		hash = types.StringNull()
	}
	stale := u.agent != nil && hash.ValueString() != inst.ClientConfigSHA256
	switch {
	case stale || (u.agent != nil && drifted(u.prior)):
		u.keep(ctx, inst, hash, clientHalf+"not configured yet")
		if hash, err = u.configureClient(ctx); err != nil {
			fail(u.diags, "Unable to configure client", err, "The server half has the new configuration, and its client on "+u.agent.URL()+" has not, as far as is known. "+
				"Mend the cause and apply again: the client is brought in step.")
			return
		}
	case u.agent == nil && u.plan.AgentURL.ValueString() != "" && (drifted(u.prior) || !u.plan.sameTunnel(u.prior) || !hash.IsNull()): // disabled
		u.keep(ctx, inst, hash, clientHalf+"not stopped yet")
		if err := u.resource.stopClient(ctx, u.plan.AgentURL.ValueString(), u.id, u.patience); err != nil {
			fail(u.diags, "Unable to stop client", err, "The server half is disabled, and its client still runs, as far as is known. Mend the cause and apply again: the client is stopped.")
			return
		}
		hash = types.StringNull()
	}
	u.keep(ctx, inst, hash)
	if !u.plan.waits() || (!stale && !drifted(u.prior) && u.plan.sameTunnel(u.prior)) {
		return
	}
	inst, err = u.awaitHealthy(ctx)
	if err != nil {
		u.diags.AddError("Unable to connect instance", explain(err)+"\n\nBoth halves have the new configuration, and were left so. Mend the cause and plan again.")
		return
	}
	u.keep(ctx, inst, hash)
}

// keep writes into the state what is true now.
func (u *update) keep(ctx context.Context, inst api.Instance, hash types.String, drift ...string) {
	u.diags.Append(u.plan.take(ctx, inst)...)
	u.plan.ClientConfigSHA256, u.plan.Drift = hash, stringList(drift)
	u.diags.Append(u.state.Set(ctx, &u.plan)...)
}

// moved tells whether the client leaves an agent.
func (u *update) moved() bool {
	old := u.prior.AgentURL.ValueString()
	return old != "" && canonical(old) != canonical(u.plan.AgentURL.ValueString())
}

// leaveOldAgent stops the client where it ran so far, before another one starts elsewhere: two clients of one instance
// push each other out for ever. False if the update cannot go on.
func (u *update) leaveOldAgent(ctx context.Context) bool {
	if !u.moved() {
		return true
	}
	old := u.prior.AgentURL.ValueString()
	err := u.leave(ctx, old)
	if err != nil && !unreachable(err) {
		fail(u.diags, "Unable to stop client", err, nothingChanged)
		return false
	}
	if err != nil {
		return u.fence(ctx, err)
	}
	u.prior.ClientConfigSHA256 = types.StringNull()
	u.prior.Drift = stringList([]string{fmt.Sprintf("%s%s has no client %s", clientHalf, old, u.id)})
	u.diags.Append(u.state.Set(ctx, &u.prior)...)
	return !u.diags.HasError()
}

// fence shuts out the client on an old agent that cannot be reached: with new secrets on the server it may run on or come
// back, and connects no more.
func (u *update) fence(ctx context.Context, unreached error) bool {
	err := persist(ctx, func(ctx context.Context) error {
		_, err := u.mgr.Rotate(ctx, u.id, "") // new secrets twice shut out no less
		return err
	})
	if err != nil && !client.IsNotFound(err) { // a server half that is gone is made anew, with new secrets
		fail(u.diags, "Unable to rotate secret", fmt.Errorf("the old agent cannot be reached (%w), and its client cannot be shut out either: %w", unreached, err),
			"The instance stays with its old agent. Mend the cause and apply again.")
		return false
	}
	u.diags.AddWarning("Old client may still run", fmt.Sprintf("%s\n\nInstance %s moves away from that agent all the same. Its secrets were changed, so a client "+
		"that still runs there, or comes back with its host, is shut out. It retries for ever, though: remove it there.", explain(unreached), u.id))
	return true
}

// leave ends the client on an agent that it moves away from. One that cannot be reached is not waited for as long as the whole
// update may take.
func (u *update) leave(ctx context.Context, url string) error {
	return u.resource.stopClient(ctx, url, u.id, u.resource.shortly(ctx))
}

// server brings the server half to the plan.
func (u *update) server(ctx context.Context) (api.Instance, error) {
	spec, _, diags := u.plan.spec(ctx)
	u.diags.Append(diags...)
	var inst api.Instance
	err := persist(ctx, func(ctx context.Context) (err error) {
		inst, err = u.mgr.Update(ctx, u.id, api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{})
		return err
	}, portMoves(u.limits.portWait))
	// Made again only if the plan says so: it left the control port open then, which a new instance chooses anew.
	if client.IsNotFound(err) && u.plan.RatholePort.IsUnknown() {
		return u.createServer(ctx, spec)
	}
	return inst, err
}

func (u *update) reportServer(err error) {
	next := "The client half was not touched. Mend the cause and apply again: it goes on from what it finds then."
	switch {
	case client.IsNotFound(err):
		next = "It vanished after the plan was made. Plan again, and it is created anew."
	case u.moved():
		next = "The client was stopped on its old agent, or shut out, and the new one was not given any. Mend the cause and apply again: it goes on from there."
	}
	if heldByInstance(err) {
		fail(u.diags, "Unable to update instance", err, "It was waited for that instance to give the port up. "+howToSwap, next)
		return
	}
	fail(u.diags, "Unable to update instance", err, next)
}

// unreachable tells of an agent that could not be asked, as against one that refused.
func unreachable(err error) bool {
	var refused *api.Problem
	return !errors.As(err, &refused) || client.IsTransient(err)
}

// drifted tells whether the last refresh found the halves out of step.
func drifted(m instanceModel) bool { return len(m.Drift.Elements()) > 0 }
