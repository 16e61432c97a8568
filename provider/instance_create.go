package provider

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-log/tflog"

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
	timeout, diags := plan.Timeouts.Create(ctx, defaultCreateTimeout)
	resp.Diagnostics.Append(diags...)
	spec, _, diags := plan.spec(ctx)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	mgr, agent, err := r.halves(plan.clientURL())
	if err != nil {
		fail(&resp.Diagnostics, "Unable to create instance", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	w := &work{connections: r.connections, mgr: mgr, agent: agent, id: plan.ServerID.ValueString()}
	if err := w.agentReady(ctx); err != nil {
		fail(&resp.Diagnostics, "Unable to reach agent", fmt.Errorf("%w; nothing was created on the manager", err))
		return
	}
	inst, err := w.createServer(ctx, spec)
	if err != nil {
		reportCreate(&resp.Diagnostics, w.id, err)
		return
	}
	if !w.serverMade {
		resp.Diagnostics.AddWarning("Instance existed already", fmt.Sprintf("Instance %s was on the manager already, with this very specification, "+
			"as an apply that was cut short leaves it. This resource manages it from now on.", w.id))
	}
	resp.Diagnostics.Append(identify(ctx, resp.Identity, plan.ServerID)...)
	resp.Diagnostics.Append(plan.take(ctx, inst)...)
	plan.ClientConfigSHA256, plan.Drift = types.StringNull(), stringList([]string{clientHalf + "not configured yet"})
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)

	summary := "Unable to configure client"
	hash, err := w.configureClient(ctx)
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
}

func reportCreate(diags *diag.Diagnostics, id string, err error) {
	const summary = "Unable to create instance"
	var p *api.Problem
	switch {
	case client.HasCode(err, api.CodeInstanceExists):
		diags.AddError(summary, explain(err)+"\n\n"+importHint(id))
	case !errors.As(err, &p):
		diags.AddError(summary, explain(err)+"\n\nIf the manager did get the request, the instance exists there; the next apply takes it over.")
	default:
		fail(diags, summary, err)
	}
}

// work is what Create and Update do to the two halves of one instance.
type work struct {
	*connections
	mgr   *client.Manager
	agent *agent // nil: no client shall run
	id    string

	serverMade bool // by this call, so it may undo it
	clientMade bool // by this call, as far as anybody knows
}

// agentReady tells whether the agent takes changes, before anything is changed elsewhere.
func (w *work) agentReady(ctx context.Context) error {
	if w.agent == nil {
		return nil
	}
	if err := persist(ctx, w.agent.Ready); err != nil {
		return fmt.Errorf("checking that the agent is ready: %w", err)
	}
	return nil
}

// createServer makes the server half, or finds the one that the same request made before.
func (w *work) createServer(ctx context.Context, spec api.InstanceSpec) (inst api.Instance, err error) {
	tflog.Info(ctx, "creating the server half", map[string]any{"server_id": w.id, "manager": w.mgr.URL()})
	key := uuid.NewString() // the same for all tries of this call, and for no other call
	err = persist(ctx, func(ctx context.Context) (err error) {
		req := api.CreateInstance{ServerID: w.id, InstanceSpec: spec}
		inst, w.serverMade, err = w.mgr.Create(ctx, req, client.CreateOptions{IdempotencyKey: key})
		return err
	}, portMoves(w.limits.portWait))
	return inst, err
}

// configureClient hands the client's config to the agent and gives the hash of what the agent runs; null without an agent.
func (w *work) configureClient(ctx context.Context) (hash types.String, err error) {
	if w.agent == nil {
		return types.StringNull(), nil
	}
	var config api.ClientConfig
	err = persist(ctx, func(ctx context.Context) (err error) {
		config, err = w.mgr.ClientConfig(ctx, w.id, "")
		return err
	})
	if err != nil {
		return types.StringNull(), fmt.Errorf("reading the client's config: %w", err)
	}
	absent := false
	err = persist(ctx, func(ctx context.Context) error {
		_, err := w.agent.Get(ctx, w.id)
		absent = client.IsNotFound(err)
		if absent {
			return nil
		}
		return err
	})
	if err != nil {
		return types.StringNull(), fmt.Errorf("looking for a client of that name: %w", err)
	}
	tflog.Info(ctx, "configuring the client half", map[string]any{"server_id": w.id, "agent": w.agent.URL(), "sha256": config.SHA256})
	var c api.Client
	err = persist(ctx, func(ctx context.Context) (err error) {
		c, err = w.agent.Configure(ctx, w.id, config.Config, false)
		return err
	})
	// A refusal by the agent means that it runs nothing new. Without an answer it may.
	var refused *api.Problem
	w.clientMade = absent && !errors.As(err, &refused)
	if err != nil {
		return types.StringNull(), fmt.Errorf("configuring the client: %w", err)
	}
	return types.StringValue(c.ConfigSHA256), nil
}

// undo takes back what this call made, client first, and reports the failure that made it necessary. It has a time of its
// own: the call's may be what ran out, or somebody pressed ^C.
func (w *work) undo(ctx context.Context, summary string, failure error, resp *resource.CreateResponse) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.limits.cleanup)
	defer cancel()
	clientLeft, serverLeft := w.undoClient(ctx), w.undoServer(ctx)
	if clientLeft == nil && serverLeft == nil {
		outcome := "What this apply had created was removed again, so nothing is left behind. Mend the cause and apply again."
		if !w.serverMade {
			outcome = "The instance on the manager existed before, so it was left as it is. Mend the cause and apply again."
		}
		resp.State.RemoveResource(ctx)
		resp.Diagnostics.AddError(summary, explain(failure)+"\n\n"+outcome)
		return
	}
	resp.Diagnostics.AddError(summary, fmt.Sprintf("%s\n\nUndoing what this apply had created failed as well:\n"+
		"- server half on %s: %s\n- client half%s: %s\n\n"+
		"The instance is kept in the state, tainted. Once both services answer, apply again: it is destroyed and created anew.",
		explain(failure), w.mgr.URL(), outcomeOf(serverLeft, w.serverMade), w.onAgent(), outcomeOf(clientLeft, w.clientMade)))
}

func (w *work) onAgent() string {
	if w.agent == nil {
		return ""
	}
	return " on " + w.agent.URL()
}

func outcomeOf(err error, made bool) string {
	switch {
	case err != nil:
		return "may still exist: " + sentence(err.Error())
	case made:
		return "removed."
	}
	return "was not created by this apply."
}

func (w *work) undoClient(ctx context.Context) error {
	if !w.clientMade {
		return nil
	}
	_, err := w.agent.Stop(ctx, w.id)
	return err
}

func (w *work) undoServer(ctx context.Context) error {
	if !w.serverMade {
		return nil
	}
	err := w.mgr.Delete(ctx, w.id)
	if client.IsNotFound(err) {
		return nil
	}
	return err
}
