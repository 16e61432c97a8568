package provider

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// Read implements resource.Resource. Only a service's own word counts as absence. One half that is gone is drift, which the
// next apply repairs in place: a replacement would cost the half that still works.
func (r *instanceResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state instanceModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(identify(ctx, resp.Identity, state.ServerID)...)
	id := state.ServerID.ValueString()
	r.willReplace(id, id)

	key, more := unsettledCreate(ctx, req.Private)
	resp.Diagnostics.Append(more...)
	if resp.Diagnostics.HasError() {
		return
	}
	if ours, ok := r.clearDoubt(ctx, state, key, &resp.Diagnostics); !ok {
		return
	} else if !ours {
		resp.State.RemoveResource(ctx)
		return
	}

	found, err := r.observe(ctx, state, &resp.Diagnostics)
	if errors.Is(err, errNotKnown) && !state.Revision.IsNull() { // an import has nothing yet that could be kept
		r.warnOfUnknown(err, &resp.Diagnostics)
		return
	}
	if err != nil {
		fail(&resp.Diagnostics, "Unable to read instance", err, readNothing)
		return
	}
	if found.inst == nil && found.client == nil && !found.silent {
		resp.State.RemoveResource(ctx)
		return
	}
	if found.inst != nil {
		resp.Diagnostics.Append(state.take(ctx, *found.inst)...)
		if key != "" { // the doubt is cleared
			resp.Diagnostics.Append(rememberCreate(ctx, resp.Private, "")...)
		}
	} else {
		state.Status = types.StringValue(string(api.StatusDown)) // no engine runs
	}
	state.ClientConfigSHA256, state.Drift = found.hash(state.ClientConfigSHA256), found.drift(state.Drift)
	resp.Diagnostics.Append(resp.State.Set(ctx, &state)...)
}

// warnOfUnknown tells that instances are not refreshed, since the manager that this very plan makes cannot be asked yet. It is no
// error: machine and instances may stand in one configuration, and the machine is to be replaced.
func (c *connections) warnOfUnknown(err error, diags *diag.Diagnostics) {
	if c.first("read") {
		diags.AddWarning("Instances not refreshed", sentence(err.Error())+"\n\nThey are taken to be as the state says. Plan again after this apply: "+
			"what a new manager does not have is made anew then. This is said once for all resources of this provider.")
	}
}

// clearDoubt asks about a create that nobody answered, before its instance is taken for this resource's. It must be done here:
// Terraform plans a tainted resource as a new one, and so gives the key to no destroy of it.
func (r *instanceResource) clearDoubt(ctx context.Context, state instanceModel, key string, diags *diag.Diagnostics) (ours, ok bool) {
	switch {
	case key != "":
		ctx, cancel := context.WithTimeout(ctx, r.limits.cleanup)
		defer cancel()
		return r.stillOurs(ctx, state, key, "Unable to read instance", readNothing, diags)
	case state.Revision.IsNull() && !state.Drift.IsNull(): // an import knows of no drift yet
		id := state.ServerID.ValueString()
		diags.AddWarning("Instance is not known to be this one", fmt.Sprintf("The manager did not answer when instance %s was to be created, and an apply or destroy with "+
			"-refresh=false has lost what would tell whether it made it. So it is dropped from the state, and one that exists is left alone. The next apply takes it over if it "+
			"has this very specification. If it has another and is this one, import it: terraform import rathole_instance.NAME %s", id, id))
		return false, true
	}
	return true, true
}

const readNothing = "Nothing was changed, and what the state holds of it is kept. Mend the cause and run Terraform again."

// observe asks both services at once. That an agent cannot be asked is a warning; the manager's failure is the error.
func (r *instanceResource) observe(ctx context.Context, state instanceModel, diags *diag.Diagnostics) (observed, error) {
	mgr, err := r.manager()
	if err != nil {
		return observed{}, err
	}
	id := state.ServerID.ValueString()
	found := observed{id: id, agentURL: state.AgentURL.ValueString(), wanted: state.Enabled.ValueBool()}
	var agentErr error
	var asking sync.WaitGroup
	if url := found.agentURL; url != "" {
		asking.Go(func() { found.client, agentErr = r.readClient(ctx, url, id) })
	}
	inst, err := mgr.Refresh(ctx, id)
	asking.Wait()
	if err != nil && !client.IsNotFound(err) {
		return observed{}, err
	}
	if err == nil {
		found.inst, found.wanted = &inst, inst.Enabled
		if inst.AgentURL != found.agentURL { // an import, or somebody moved it
			found.agentURL, found.client, agentErr = inst.AgentURL, nil, nil
			if inst.AgentURL != "" {
				found.client, agentErr = r.readClient(ctx, inst.AgentURL, id)
			}
		}
	}
	if agentErr != nil {
		found.silent = true
		if r.first("read " + canonical(found.agentURL)) {
			diags.AddWarning("Unable to read client", fmt.Sprintf("%s\n\nThe client half of what runs there is taken to be as the state says. "+
				"This is said once for all resources of that agent.", explain(agentErr)))
		}
	}
	return found, nil
}

// readClient reads a client; nil if the agent has none.
func (r *instanceResource) readClient(ctx context.Context, url, id string) (*api.Client, error) {
	a, err := r.agent(url)
	if err != nil {
		return nil, err
	}
	c, err := a.read(ctx, id)
	if client.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &c, nil
}
