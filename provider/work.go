package provider

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// work is what Create and Update do to the two halves of one instance.
type work struct {
	*connections
	mgr   *client.Manager
	agent *agent // nil: no client shall run
	id    string
	key   string // of the create: the same for all its tries, and for no other create

	creates    bool // there is no tunnel yet that could suffer
	unsure     bool // a create of the server half was not answered, and may have been carried out
	serverMade bool // by this call, so it may undo it
	clientWas  bool // there was a client before, of a server half that this call did not make
	clientMade bool // by this call, as far as anybody knows
}

// agentReady tells whether the agent takes changes, before anything is changed elsewhere.
func (w *work) agentReady(ctx context.Context) error {
	if w.agent == nil {
		return nil
	}
	ready := w.agent.Ready
	if w.creates { // what it makes, it takes back
		ready = w.agent.wasReady
	}
	if err := persist(ctx, ready); err != nil {
		return fmt.Errorf("checking that the agent is ready: %w", err)
	}
	return nil
}

// createServer makes the server half, or finds the one that the same request made before.
func (w *work) createServer(ctx context.Context, spec api.InstanceSpec) (inst api.Instance, err error) {
	tflog.Info(ctx, "creating the server half", map[string]any{"server_id": w.id, "manager": w.mgr.URL()})
	err = persist(ctx, func(ctx context.Context) (err error) {
		req := api.CreateInstance{ServerID: w.id, InstanceSpec: spec}
		inst, w.serverMade, err = w.mgr.Create(ctx, req, client.CreateOptions{IdempotencyKey: w.key})
		w.unsure = w.unsure || client.Unanswered(err)
		return err
	}, portMoves(w.limits.portWait))
	return inst, err
}

// lookForClient looks whether the client of a server half that was there already is there, too.
func (w *work) lookForClient(ctx context.Context) error {
	if w.agent == nil || w.serverMade {
		return nil // a client of that name has no server any more
	}
	err := persist(ctx, func(ctx context.Context) error {
		_, err := w.agent.Get(ctx, w.id)
		w.clientWas = err == nil
		if client.IsNotFound(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("looking for a client of that name: %w", err)
	}
	return nil
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
	tflog.Info(ctx, "configuring the client half", map[string]any{"server_id": w.id, "agent": w.agent.URL(), "sha256": config.SHA256})
	var c api.Client
	err = persist(ctx, func(ctx context.Context) (err error) {
		c, err = w.agent.Configure(ctx, w.id, config.Config, false)
		// A refusal by the agent means that it runs nothing new. Without an answer it may.
		w.clientMade = w.clientMade || (!w.clientWas && (err == nil || client.Unanswered(err)))
		if client.HasCode(err, api.CodeClientExists) {
			w.clientMade = false // nor did a try before that was not answered: the client is another manager's
		}
		return err
	})
	if err != nil {
		return types.StringNull(), fmt.Errorf("configuring the client: %w", err)
	}
	return types.StringValue(c.ConfigSHA256), nil
}
