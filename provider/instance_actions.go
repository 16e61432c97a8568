package provider

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/action"
	"github.com/hashicorp/terraform-plugin-framework/action/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// actionTimeout bounds an action. What it does takes seconds; the rest is patience with an agent that is restarting.
const actionTimeout = 2 * time.Minute

// instanceAction is one thing that can be done to an instance, beyond making it what the configuration says.
type instanceAction struct {
	*connections
	name        string // after rathole_instance_
	description string
	summary     string // of its errors
	alone       bool   // it asks the manager only
	invoke      func(ctx context.Context, w *work, inst api.Instance, progress func(string)) error
}

var _ action.ActionWithConfigure = (*instanceAction)(nil)

func newRestartAction() action.Action {
	return &instanceAction{
		name: "restart", summary: "Unable to restart instance", invoke: restart,
		description: "Replaces both engines of an instance by new processes, the server's first, and waits until the tunnel is up again. Its players are dropped; " +
			"no other instance is touched.",
	}
}

func newRotateSecretAction() action.Action {
	return &instanceAction{
		name: "rotate_secret", summary: "Unable to rotate secret", invoke: rotateSecret,
		description: "Gives every service of an instance a new secret, on the server and at once on the client, and waits until the tunnel is up again. Open TCP " +
			"connections live on. UDP is without an answer until the client has its secret, some ten milliseconds and the way to the agent, and goes on through a new " +
			"local port: the game sees a new peer, and may drop that player.",
	}
}

func newProbeAction() action.Action {
	return &instanceAction{
		name: "probe", summary: "Unable to reach game", invoke: probeGame, alone: true,
		description: "Asks an instance's game, through its public ports, whether players reach it, and fails if they do not. `probe` of the services says how the game is asked.",
	}
}

type instanceActionModel struct {
	ServerID types.String `tfsdk:"server_id"`
}

// Metadata implements action.Action.
func (a *instanceAction) Metadata(_ context.Context, req action.MetadataRequest, resp *action.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_instance_" + a.name
}

// Configure implements action.ActionWithConfigure.
func (a *instanceAction) Configure(_ context.Context, req action.ConfigureRequest, resp *action.ConfigureResponse) {
	a.connections = configured(req.ProviderData, &resp.Diagnostics)
}

// Schema implements action.Action.
func (a *instanceAction) Schema(_ context.Context, _ action.SchemaRequest, resp *action.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: a.description + " Needs Terraform 1.14 or later.",
		Attributes: map[string]schema.Attribute{
			"server_id": schema.StringAttribute{
				Required: true, MarkdownDescription: "Name of the instance. The manager knows which agent runs its client.",
				Validators: []validator.String{stringvalidator.RegexMatches(regexp.MustCompile(rathole.ServerIDPattern),
					"must be a letter or digit followed by up to 63 letters, digits, - or _")},
			},
		},
	}
}

// Invoke implements action.Action.
func (a *instanceAction) Invoke(ctx context.Context, req action.InvokeRequest, resp *action.InvokeResponse) {
	var data instanceActionModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &data)...)
	if resp.Diagnostics.HasError() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	err := a.run(ctx, data.ServerID.ValueString(), func(text string) {
		resp.SendProgress(action.InvokeProgressEvent{Message: text})
	})
	if err != nil {
		fail(&resp.Diagnostics, a.summary, err)
	}
}

func (a *instanceAction) run(ctx context.Context, id string, progress func(string)) error {
	mgr, err := a.manager()
	if err != nil {
		return err
	}
	inst, err := mgr.Get(ctx, id)
	if err != nil {
		return err
	}
	w := &work{connections: a.connections, mgr: mgr, id: id}
	if inst.AgentURL != "" && inst.Enabled && !a.alone {
		if w.agent, err = a.agent(inst.AgentURL); err != nil {
			return err
		}
	}
	// Nothing is changed on the server while its client cannot follow.
	if err := w.agentReady(ctx); err != nil {
		return fmt.Errorf("%w; nothing was changed", err)
	}
	return a.invoke(ctx, w, inst, progress)
}

func restart(ctx context.Context, w *work, _ api.Instance, progress func(string)) error {
	if _, err := w.mgr.Restart(ctx, w.id); err != nil {
		return err
	}
	progress("The server half has a new process.")
	if w.agent == nil {
		return nil
	}
	if _, err := w.agent.Restart(ctx, w.id); err != nil {
		return fmt.Errorf("the server half was restarted, its client was not: %w", err)
	}
	progress("The client half has a new process.")
	return w.up(ctx, progress)
}

func rotateSecret(ctx context.Context, w *work, inst api.Instance, progress func(string)) error {
	_, lost := w.mgr.Rotate(ctx, w.id, client.ETag(inst))
	switch {
	case lost == nil:
		progress("The server half has new secrets.")
	case !client.Unanswered(lost):
		return lost
	default: // it may have them, and the client would be shut out
		progress("The manager did not answer whether the server half has new secrets.")
	}
	if w.agent == nil {
		progress("No agent runs the client: hand it the new client config, or it stays shut out.")
		return w.rotated(ctx, inst, lost)
	}
	if _, err := w.configureClient(ctx); err != nil {
		return fmt.Errorf("the server half has new secrets and its client has not: until the client has them too, the tunnel is down; plan and apply repair it: %w", err)
	}
	progress("The client half has the secrets of the server half.")
	if err := w.up(ctx, progress); err != nil {
		return err
	}
	return w.rotated(ctx, inst, lost)
}

// rotated tells by the revision whether a rotation whose answer was lost was carried out.
func (w *work) rotated(ctx context.Context, before api.Instance, lost error) error {
	if lost == nil {
		return nil
	}
	now, err := w.mgr.Get(ctx, w.id)
	switch {
	case err != nil:
		return fmt.Errorf("whether the secrets are new is not known: %w", lost)
	case now.Revision == before.Revision:
		return fmt.Errorf("the secrets are the old ones, on both halves: %w", lost)
	}
	return nil
}

// probeGame tells of each service what the game said.
func probeGame(ctx context.Context, w *work, _ api.Instance, progress func(string)) error {
	report, err := w.mgr.Probe(ctx, w.id)
	if err != nil {
		return err
	}
	var failed, unasked []string
	for _, name := range slices.Sorted(maps.Keys(report.Services)) {
		r := report.Services[name]
		text := fmt.Sprintf("%s (%s): %s", name, r.Kind, said(r))
		progress(text)
		switch {
		case r.Reason == api.ReasonNotProbed:
			unasked = append(unasked, text)
		case !r.OK:
			failed = append(failed, text)
		}
	}
	switch {
	case report.Reachable:
		return nil
	case len(failed) == 0:
		return fmt.Errorf("whether players reach instance %s is not known: %s", w.id, strings.Join(unasked, "; "))
	}
	return fmt.Errorf("players do not reach instance %s: %s", w.id, strings.Join(failed, "; "))
}

// said is what a probe of one service brought, in words.
func said(r api.ProbeResult) string {
	if !r.OK {
		return r.Message
	}
	text := fmt.Sprintf("reached in %.1f ms", r.RTTMS)
	if r.Game != nil && r.Game.Name != "" {
		text += fmt.Sprintf(", it is %q", r.Game.Name)
	}
	return text
}

// up waits until the tunnel stands.
func (w *work) up(ctx context.Context, progress func(string)) error {
	if _, err := w.awaitHealthy(ctx); err != nil {
		return err
	}
	progress("The tunnel is up.")
	return nil
}
