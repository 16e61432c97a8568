package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// afterwards is the time in which a create may put right what it failed at. It is a time of its own: the create's may be what
// ran out, or somebody pressed ^C.
func (w *work) afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), w.limits.cleanup)
}

// undo takes back what this call made, client first, and reports the failure that made it necessary.
func (w *work) undo(ctx context.Context, summary string, failure error, resp *resource.CreateResponse) {
	ctx, cancel := w.afterwards(ctx)
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
	text := fmt.Sprintf("%s\n\nUndoing what this apply had created failed as well:\n"+
		"- server half on %s: %s\n- client half%s: %s\n\n"+
		"The instance is kept in the state, tainted. Once both services answer, apply again: it is destroyed and created anew.",
		explain(failure), w.mgr.URL(), outcomeOf(serverLeft, w.serverMade), w.onAgent(), outcomeOf(clientLeft, w.clientMade))
	if clientLeft != nil {
		text += " If the agent's host is gone for good, set force_destroy = true in the provider block before."
	}
	resp.Diagnostics.AddError(summary, text)
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

// briefly bounds one try of many, so that a call which hangs leaves time for another. To end an engine takes the services 5 s
// at the most.
func (c *connections) briefly(do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, c.limits.cleanup/4)
		defer cancel()
		return do(ctx)
	}
}

// undoClient leaves half of the time to the server half: an agent that is dead would use up all of it.
func (w *work) undoClient(ctx context.Context) error {
	if !w.clientMade {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.limits.cleanup/2)
	defer cancel()
	return persist(ctx, w.briefly(func(ctx context.Context) error {
		_, err := w.agent.Stop(ctx, w.id)
		return err
	}))
}

func (w *work) undoServer(ctx context.Context) error {
	if !w.serverMade {
		return nil
	}
	err := persist(ctx, w.briefly(func(ctx context.Context) error { return w.mgr.Delete(ctx, w.id) }))
	if client.IsNotFound(err) {
		return nil
	}
	return err
}

// settle ends a create that the manager did not answer: it asks whether the instance was made after all, and takes it back if
// so. If that cannot be told either, the state keeps what may exist, and the key by which a later destroy will know it.
func (w *work) settle(ctx context.Context, plan instanceModel, spec api.InstanceSpec, failure error, resp *resource.CreateResponse) {
	const summary = "Unable to create instance"
	resp.Diagnostics.Append(plan.forgetUnknown()...)
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	resp.Diagnostics.Append(rememberCreate(ctx, resp.Private, w.key)...)
	asking, cancel := w.afterwards(ctx)
	defer cancel()
	made, err := w.madeBy(asking, w.mgr, w.id, spec, w.key)
	switch {
	case err != nil:
		resp.Diagnostics.AddError(summary, fmt.Sprintf("%s\n\nWhether the manager made the instance all the same is not known: %s\n\nIt is kept in the state, tainted. "+
			"Once the manager answers, apply again: what this apply made is destroyed and created anew, and nothing else is touched.", explain(failure), sentence(err.Error())))
	case made:
		w.serverMade = true
		w.undo(ctx, summary, failure, resp)
	default:
		resp.State.RemoveResource(ctx)
		text := explain(failure) + "\n\nThe manager was asked again since: it did not make the instance, so nothing is left behind. Mend the cause and apply again."
		if client.HasCode(failure, api.CodeInstanceExists) {
			text += "\n\n" + importHint(w.id)
		}
		resp.Diagnostics.AddError(summary, text)
	}
}

// madeBy asks the manager whether an instance was made by the create of that key. A dry run of the same create tells: it is
// answered with the instance, as new, only if it was.
func (c *connections) madeBy(ctx context.Context, mgr *client.Manager, id string, spec api.InstanceSpec, key string) (made bool, err error) {
	err = persist(ctx, c.briefly(func(ctx context.Context) error {
		inst, fresh, err := mgr.Create(ctx, api.CreateInstance{ServerID: id, InstanceSpec: spec}, client.CreateOptions{IdempotencyKey: key, DryRun: true})
		made = err == nil && fresh && inst.UID != "" // what does not exist has none
		if refusedAnew(err) {
			return nil
		}
		return err
	}))
	return made, err
}

// refusedAnew tells of a create that is refused for what it asks. One that was made by the same create is not.
func refusedAnew(err error) bool {
	var p *api.Problem
	if !errors.As(err, &p) {
		return false
	}
	switch p.Status {
	case http.StatusConflict, http.StatusUnprocessableEntity, http.StatusInsufficientStorage:
		return true
	}
	return p.Code == api.CodeEngineUnavailable
}

// privateCreate is the key under which the private state of a resource holds that of a create whose outcome is not known.
const privateCreate = "create"

// privateState is what the framework gives of a resource's private state.
type privateState interface {
	GetKey(ctx context.Context, key string) ([]byte, diag.Diagnostics)
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

type createMemory struct {
	IdempotencyKey string `json:"idempotency_key"`
}

// rememberCreate keeps the key of a create whose outcome is not known; "" forgets it.
func rememberCreate(ctx context.Context, private privateState, key string) diag.Diagnostics {
	text, err := json.Marshal(createMemory{IdempotencyKey: key})
	if err != nil {
		return diag.Diagnostics{diag.NewErrorDiagnostic("Unable to keep the private state", err.Error())}
	}
	return private.SetKey(ctx, privateCreate, text)
}

// unsettledCreate gives the key of a create whose outcome is not known; "" if it is.
func unsettledCreate(ctx context.Context, private privateState) (string, diag.Diagnostics) {
	var memory createMemory
	text, diags := private.GetKey(ctx, privateCreate)
	if len(text) > 0 {
		if err := json.Unmarshal(text, &memory); err != nil {
			diags.AddError("Unable to read the private state", err.Error())
		}
	}
	return memory.IdempotencyKey, diags
}
