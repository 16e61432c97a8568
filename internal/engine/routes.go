package engine

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// Routes adds the engine's routes to a service's API.
func (u *Upgrader[S]) Routes(a *httpapi.API) {
	type getOut struct{ Body api.Engine }
	httpapi.Handle(a, huma.Operation{
		OperationID: "get-engine", Method: http.MethodGet, Path: api.PathEngine,
		Summary: "Show which rathole starts use, which one the machine has now, which units run which, and how far an upgrade is",
	}, func(ctx context.Context, _ *struct{}) (*getOut, error) {
		return &getOut{Body: u.Describe(ctx)}, nil
	})

	type upgradeOut struct {
		Status int
		Body   api.Engine
	}
	httpapi.Handle(a, huma.Operation{
		OperationID: "upgrade-engine", Method: http.MethodPost, Path: api.PathEngineUpgrade, DefaultStatus: http.StatusAccepted,
		SkipValidateBody: true,
		Summary:          "Take up the rathole that the machine has now, tunnel by tunnel",
		Description: "The service looks for the executable anew, at its own configured path or in PATH, and answers 202 with the upgrade under way, " +
			"or 200 when there is nothing to do. Units are restarted one after the other, in the order of their ids; each must be ready, and " +
			"within 15 s as connected as it was before, or it is given its old engine back and the upgrade stops. Poll " + api.PathEngine +
			" until upgrade.state is done or failed. The same call again goes on where an upgrade stopped.",
	}, func(ctx context.Context, _ *struct{}) (*upgradeOut, error) {
		begun, err := u.Begin(ctx)
		if err != nil {
			return nil, err
		}
		out := &upgradeOut{Status: http.StatusOK, Body: u.Describe(ctx)}
		if begun {
			out.Status = http.StatusAccepted
		}
		return out, nil
	})
}

// Describe tells all about the engine at this moment.
func (u *Upgrader[S]) Describe(ctx context.Context) api.Engine {
	out := api.Engine{Upgrade: u.progress()}
	if b, ok := u.engine.known(); ok {
		out.Current = build(b)
	}
	if b, err := u.engine.Found(ctx); err != nil {
		out.FoundProblem = err.Error()
	} else {
		out.Found = build(b)
	}
	uses := map[string]api.EngineUse{}
	for _, v := range u.fleet.Supervisor.List() {
		if !alive(v) {
			continue
		}
		b, err := u.engine.runs(ctx, v.Process)
		if err != nil && b.Path == "" {
			continue // its process has just ended
		}
		use, ok := uses[b.Path]
		if !ok {
			use.EngineBuild = *build(b)
		}
		use.Units = append(use.Units, v.Record.ID)
		uses[b.Path] = use
	}
	out.Running = make([]api.EngineUse, 0, len(uses))
	for _, path := range slices.Sorted(maps.Keys(uses)) {
		out.Running = append(out.Running, uses[path])
	}
	return out
}

// progress is a copy of the last upgrade's state, nil if there was none.
func (u *Upgrader[S]) progress() *api.EngineUpgrade {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		return nil
	}
	state := *u.last
	state.Upgraded, state.Remaining = slices.Clone(state.Upgraded), slices.Clone(state.Remaining)
	return &state
}

func build(b rathole.Binary) *api.EngineBuild {
	return &api.EngineBuild{Version: b.Version, SHA256: b.SHA256, Path: b.Path}
}
