package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// ModifyPlan implements resource.ResourceWithModifyPlan. The framework has marked every computed value unknown if anything
// changes at all; here those that stay are put back, and drift becomes a change although the configuration has none. Then
// the manager is asked for its opinion, which yields diagnostics only.
func (r *instanceResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return // a destroy
	}
	var config, plan instanceModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	var prior *instanceModel
	if !req.State.Raw.IsNull() {
		prior = &instanceModel{}
		resp.Diagnostics.Append(req.State.Get(ctx, prior)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	if prior != nil && r.connections != nil {
		r.willReplace(plan.ServerID.ValueString(), prior.ServerID.ValueString())
	}
	inPlace := prior != nil && plan.ServerID.Equal(prior.ServerID)
	if inPlace {
		resp.Diagnostics.Append(planUpdate(ctx, config, *prior, &plan)...)
	} else {
		planCreate(&plan)
	}
	resp.Diagnostics.Append(resp.Plan.Set(ctx, &plan)...)
	if resp.Diagnostics.HasError() {
		return
	}
	if !inPlace || !plan.samePorts(*prior) || !plan.sameProbes(*prior) || !plan.Transport.Equal(prior.Transport) {
		r.askManager(ctx, plan, inPlace, &resp.Diagnostics)
	}
}

// planCreate fills in what is known of an instance before it exists.
func planCreate(plan *instanceModel) {
	plan.ID, plan.Drift = plan.ServerID, stringList(nil)
	if plan.AgentURL.IsNull() || (!plan.Enabled.IsUnknown() && !plan.Enabled.ValueBool()) {
		plan.ClientConfigSHA256 = types.StringNull()
	}
}

// planUpdate puts back what stays. What the services will decide anew stays unknown, the revision above all: Update takes
// a known one for the sign that no service need be asked.
func planUpdate(ctx context.Context, config, prior instanceModel, plan *instanceModel) diag.Diagnostics {
	diags := keepPublicPorts(ctx, config, prior, plan)
	if diags.HasError() {
		return diags
	}
	plan.ID, plan.RatholePort = prior.ID, prior.RatholePort
	plan.Endpoints, plan.LaunchArguments = prior.Endpoints, prior.LaunchArguments
	if plan.sameSpec(prior) && !drifted(prior) {
		plan.Status, plan.Revision, plan.ClientConfigSHA256, plan.Drift = prior.Status, prior.Revision, prior.ClientConfigSHA256, prior.Drift
		return diags
	}
	plan.Status, plan.Revision, plan.Drift = types.StringUnknown(), types.Int64Unknown(), stringList(nil)
	plan.ClientConfigSHA256 = types.StringUnknown()
	if plan.AgentURL.IsNull() || (!plan.Enabled.IsUnknown() && !plan.Enabled.ValueBool()) {
		plan.ClientConfigSHA256 = types.StringNull()
	}
	if drifted(prior) { // the server half may have to be made again, with another control port
		plan.RatholePort = types.Int64Unknown()
	}
	if drifted(prior) || !plan.samePorts(prior) {
		plan.Endpoints = types.MapUnknown(types.StringType)
	}
	if drifted(prior) || !plan.samePorts(prior) || !plan.sameProbes(prior) {
		plan.LaunchArguments = types.ListUnknown(types.StringType)
	}
	return diags
}

// keepPublicPorts keeps the port of a service whose port is the manager's choice. Where the configuration now gives that port
// to another service, the manager chooses again.
func keepPublicPorts(ctx context.Context, config, prior instanceModel, plan *instanceModel) diag.Diagnostics {
	if plan.Services.IsNull() || plan.Services.IsUnknown() {
		return nil
	}
	written, _, diags := config.services(ctx)
	before, _, more := prior.services(ctx)
	diags.Append(more...)
	kept := maps.Clone(plan.Services.Elements())
	for name, element := range kept {
		object, ok := element.(types.Object)
		old, had := before[name]
		// A port that the configuration takes from elsewhere, and that is not known yet, is not the manager's choice.
		if !ok || object.IsUnknown() || !had || !written[name].PublicPort.IsNull() || givenAway(written, name, old.PublicPort) {
			continue
		}
		fields := object.Attributes()
		fields["public_port"] = old.PublicPort
		with, more := types.ObjectValue(serviceType().AttrTypes, fields)
		diags.Append(more...)
		kept[name] = with
	}
	if diags.HasError() {
		return diags
	}
	services, more := types.MapValue(serviceType(), kept)
	diags.Append(more...)
	plan.Services = services
	return diags
}

// givenAway tells whether a configuration names the port of a service for another one that shares a protocol with it, or may.
func givenAway(written map[string]serviceModel, service string, port types.Int64) bool {
	for name, s := range written {
		if name == service || s.PublicPort.IsNull() || !s.PublicPort.Equal(port) {
			continue
		}
		its := written[service].Protocols
		if its.IsUnknown() || s.Protocols.IsUnknown() || slices.ContainsFunc(s.Protocols.Elements(), func(p attr.Value) bool {
			return p.IsUnknown() || slices.ContainsFunc(its.Elements(), p.Equal)
		}) {
			return true
		}
	}
	return false
}

// askManager has the manager check a plan, as far as it is known, without committing anything.
func (r *instanceResource) askManager(ctx context.Context, plan instanceModel, inPlace bool, diags *diag.Diagnostics) {
	spec, complete, more := plan.spec(ctx)
	diags.Append(more...)
	if !complete || diags.HasError() || r.connections == nil || r.unasked.Load() {
		return
	}
	mgr, err := r.manager()
	if errors.Is(err, errNotKnown) {
		return
	}
	if err != nil {
		fail(diags, "Unable to plan instance", err)
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.limits.planCheck, fmt.Errorf("no answer within %s", r.limits.planCheck))
	defer cancel()
	id := plan.ServerID.ValueString()
	var inst api.Instance
	if inPlace {
		inst, err = mgr.Update(ctx, id, api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{DryRun: true})
	} else {
		inst, _, err = mgr.Create(ctx, api.CreateInstance{ServerID: id, InstanceSpec: spec}, client.CreateOptions{DryRun: true, Replaces: r.replaces(id)})
	}
	if err != nil {
		r.judge(id, err, diags)
		return
	}
	for _, w := range inst.Warnings {
		diags.AddWarning("Instance deserves a look", sentence(w))
	}
}

// judge decides what a refusal of a dry run means for a plan. What this very apply may set right is a warning.
func (r *instanceResource) judge(id string, err error, diags *diag.Diagnostics) {
	var p *api.Problem
	if !errors.As(err, &p) || client.IsTransient(err) {
		// A manager that takes up planCheck would take it up for each of a thousand instances.
		if !r.unasked.Swap(true) {
			diags.AddWarning("Unable to check plan", explain(err)+"\n\nWhether the ports are free shows only when it is applied. "+
				"This is said once, and the manager is not asked about the other instances of this run.")
		}
		return
	}
	switch p.Code {
	case api.CodeInstanceNotFound: // drift that the refresh tells of
	case api.CodePortInUse:
		if p.Owner == nil || p.Owner.Kind != api.OwnerInstance {
			fail(diags, "Port not available", err)
			return
		}
		text := explain(err) + "\n\nIf that instance gives the port up in this apply, all is well; else the apply fails."
		if r.replaces(id) == id { // it exists
			text += " " + howToSwap
		}
		if at, ok := attribute(err); ok {
			diags.AddAttributeWarning(at, "Port held by another instance", text)
			return
		}
		diags.AddWarning("Port held by another instance", text)
	case api.CodeInstanceExists:
		if r.replaces(id) != id { // else this plan replaces it
			diags.AddAttributeWarning(path.Root("server_id"), "Instance exists already", importHint(id))
		}
	case api.CodeInvalidRequest:
		failEach(diags, "Invalid instance", err, p)
	case api.CodeEngineUnavailable, api.CodeInternal:
		diags.AddWarning("Unable to check plan", explain(err))
	default:
		fail(diags, "Unable to plan instance", err)
	}
}

// failEach gives each field that the manager names an error of its own.
func failEach(diags *diag.Diagnostics, summary string, err error, p *api.Problem) {
	if len(p.Errors) < 2 {
		fail(diags, summary, err)
		return
	}
	byPlace := slices.SortedFunc(slices.Values(p.Errors), func(a, b api.FieldError) int { return strings.Compare(a.Location, b.Location) })
	for _, e := range byPlace {
		if at, ok := attributeAt(e.Location); ok {
			diags.AddAttributeError(at, summary, sentence(e.Message))
			continue
		}
		diags.AddError(summary, sentence(e.Location+": "+e.Message))
	}
}
