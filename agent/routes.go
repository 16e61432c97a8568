package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// Handler returns the HTTP API.
func (a *Agent) Handler() http.Handler { return acceptTOML(a.api) }

type (
	clientIn struct {
		ID string `path:"id" doc:"The client's id: its instance's server_id."`
	}
	clientOut struct{ Body api.Client }
)

func (a *Agent) routes() {
	a.readRoutes()
	a.changeRoutes()
	service.LogRoutes(a.api, api.PathClient, "client", func(id string) (string, error) {
		v, err := a.get(id)
		return v.Process.Log, err
	})
	a.history.Routes(a.api, api.PathClient, "client", func(id string) error {
		_, err := a.get(id)
		return err
	})
}

func (a *Agent) readRoutes() {
	type listOut struct{ Body api.ClientList }
	httpapi.Handle(a.api, huma.Operation{
		OperationID: "list-clients", Method: http.MethodGet, Path: api.PathClients, Summary: "List clients, ordered by id",
	}, func(ctx context.Context, _ *struct{}) (*listOut, error) {
		clients, err := a.show(ctx, a.list()...)
		return &listOut{Body: api.ClientList{Clients: clients}}, err
	})

	type getIn struct {
		ID string `path:"id" doc:"The client's id: its instance's server_id."`
		service.Wait
		Want string `query:"wait" enum:"healthy,degraded,down" doc:"Answer once the client has this status, or at the timeout with what it is."`
	}
	httpapi.Handle(a.api, huma.Operation{
		OperationID: "get-client", Method: http.MethodGet, Path: api.PathClient, Summary: "Read a client, at once or when it has a status",
	}, func(ctx context.Context, in *getIn) (*clientOut, error) {
		timeout, err := in.Duration()
		if err != nil {
			return nil, err
		}
		v, seen, err := a.observer.Await(ctx, in.ID, api.Status(in.Want), timeout, a.api.Draining())
		if errors.Is(err, supervisor.ErrNotFound) {
			err = notFound(in.ID)
		}
		if err != nil {
			return nil, err
		}
		return &clientOut{Body: a.shown(v, seen)}, nil
	})
}

func (a *Agent) changeRoutes() {
	type configureIn struct {
		ID      string `path:"id" doc:"The client's id: its instance's server_id."`
		Replace bool   `query:"replace" doc:"Take the id over from another remote host."`
		Body    api.ConfigureClient
	}
	httpapi.Handle(a.api, huma.Operation{
		OperationID: "configure-client", Method: http.MethodPost, Path: api.PathClient + "/configure",
		Summary: "Run a client on a config; the same config again touches nothing",
	}, func(ctx context.Context, in *configureIn) (*clientOut, error) {
		v, fresh, err := a.configure(ctx, in.ID, in.Body.ClientConfig, in.Replace)
		if err != nil {
			return nil, err
		}
		if fresh {
			return a.answer(ctx, v, a.watcher.lookNew)
		}
		return a.answer(ctx, v, a.watcher.look)
	})

	type stopOut struct{ Body api.StopClient }
	httpapi.Handle(a.api, huma.Operation{
		OperationID: "stop-client", Method: http.MethodPost, Path: api.PathClient + "/stop", SkipValidateBody: true,
		Summary: "Remove a client: process, config and record are gone when this answers, also if there was none",
	}, func(ctx context.Context, in *clientIn) (*stopOut, error) {
		existed, err := a.stop(ctx, in.ID)
		return &stopOut{Body: api.StopClient{ServerID: in.ID, Existed: existed}}, err
	})

	type restartOut struct{ Body api.Restarted }
	httpapi.Handle(a.api, huma.Operation{
		OperationID: "restart-client", Method: http.MethodPost, Path: api.PathClient + "/restart",
		Summary: "Replace a client's engine by a new process; its players are dropped",
	}, func(ctx context.Context, in *clientIn) (*restartOut, error) {
		v, err := a.restart(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return &restartOut{Body: api.Restarted{ServerID: in.ID, PID: v.Process.PID}}, nil
	})
}

// list returns the clients that are here to stay.
func (a *Agent) list() []view {
	return slices.DeleteFunc(slices.Clone(a.sup.List()), func(v view) bool { return v.Record.Desired == supervisor.Absent })
}

func (a *Agent) answer(ctx context.Context, v view, look service.Look[spec]) (*clientOut, error) {
	seen, err := a.observer.ShowBy(ctx, look, v)
	if err != nil { // an error would say that nothing was done
		a.cfg.Log.Warn("answering without a look at the sockets", "id", v.Record.ID, "error", err)
		seen = []service.Observed{service.Unseen(v, err, api.Connected, api.LocalReachable)}
	}
	return &clientOut{Body: a.shown(v, seen[0])}, nil
}

// show gives clients as callers see them, with a status of this moment.
func (a *Agent) show(ctx context.Context, views ...view) ([]api.Client, error) {
	shown := make([]api.Client, len(views))
	if len(views) == 0 {
		return shown, nil
	}
	seen, err := a.observer.Show(ctx, views...)
	if err != nil {
		return nil, fmt.Errorf("read the sockets: %w", err)
	}
	for i, v := range views {
		shown[i] = a.shown(v, seen[i])
	}
	return shown, nil
}

// shown is a client as it was seen.
func (a *Agent) shown(v view, seen service.Observed) api.Client {
	rec := v.Record
	return api.Client{
		ServerID: rec.ID, Status: seen.Status, Conditions: seen.Conditions,
		ConfigSHA256: rec.Spec.digest(), RemoteAddr: rec.Spec.RemoteAddr, Services: slices.Sorted(maps.Keys(rec.Spec.Services)),
		Warnings:  engine.Warnings(&a.doubts, v, seen.Conditions),
		CreatedAt: rec.CreatedAt, UpdatedAt: rec.UpdatedAt,
	}
}
