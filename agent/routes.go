package agent

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
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
}

func (a *Agent) readRoutes() {
	type listOut struct{ Body api.ClientList }
	httpapi.Handle(a.api, huma.Operation{
		OperationID: "list-clients", Method: http.MethodGet, Path: api.PathClients, Summary: "List clients, ordered by id",
	}, func(ctx context.Context, _ *struct{}) (*listOut, error) {
		clients, err := a.show(ctx, a.list()...)
		return &listOut{Body: api.ClientList{Clients: clients}}, err
	})

	httpapi.Handle(a.api, huma.Operation{
		OperationID: "get-client", Method: http.MethodGet, Path: api.PathClient, Summary: "Read a client",
	}, func(ctx context.Context, in *clientIn) (*clientOut, error) {
		v, err := a.get(in.ID)
		if err != nil {
			return nil, err
		}
		return a.answer(ctx, v)
	})

	type logsIn struct {
		ID    string `path:"id" doc:"The client's id: its instance's server_id."`
		Lines int    `query:"lines" minimum:"1" maximum:"10000" default:"100" doc:"The newest so many lines."`
	}
	type logsOut struct{ Body api.Logs }
	httpapi.Handle(a.api, huma.Operation{
		OperationID: "client-logs", Method: http.MethodGet, Path: api.PathClient + "/logs", Summary: "Read the newest lines of a client's log",
	}, func(_ context.Context, in *logsIn) (*logsOut, error) {
		v, err := a.get(in.ID)
		if err != nil {
			return nil, err
		}
		lines, err := rathole.TailLog(v.Process.Log, in.Lines)
		if err != nil {
			return nil, err
		}
		return &logsOut{Body: api.Logs{ServerID: in.ID, Lines: append([]string{}, lines...)}}, nil
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
		v, err := a.configure(ctx, in.ID, in.Body.ClientConfig, in.Replace)
		if err != nil {
			return nil, err
		}
		return a.answer(ctx, v)
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
	return slices.DeleteFunc(a.sup.List(), func(v view) bool { return v.Record.Desired == supervisor.Absent })
}

func (a *Agent) answer(ctx context.Context, v view) (*clientOut, error) {
	shown, err := a.show(ctx, v)
	if err != nil { // an error would say that nothing was done
		a.cfg.Log.Warn("answering without a look at the sockets", "id", v.Record.ID, "error", err)
		return &clientOut{Body: a.client(v, kernelView{unread: err})}, nil
	}
	return &clientOut{Body: shown[0]}, nil
}

// show gives clients as callers see them, with a status of this moment.
func (a *Agent) show(ctx context.Context, views ...view) ([]api.Client, error) {
	shown := make([]api.Client, len(views))
	if len(views) == 0 {
		return shown, nil
	}
	k, err := look(ctx, controlPorts(views))
	if err != nil {
		return nil, fmt.Errorf("read the sockets: %w", err)
	}
	for i, v := range views {
		shown[i] = a.client(v, k)
	}
	return shown, nil
}

// client is one client, with what the kernel says of its sockets.
func (a *Agent) client(v view, k kernelView) api.Client {
	rec := v.Record
	status, conditions := assess(v, k)
	return api.Client{
		ServerID: rec.ID, Status: status, Conditions: a.seen.Stamp(rec.ID, conditions),
		ConfigSHA256: rec.Spec.digest(), RemoteAddr: rec.Spec.RemoteAddr, Services: slices.Sorted(maps.Keys(rec.Spec.Services)),
		CreatedAt: rec.CreatedAt, UpdatedAt: rec.UpdatedAt,
	}
}

// controlPorts are the remote ports of clients, for the kernel's filter.
func controlPorts(views []view) []api.PortRange {
	ports := map[int]bool{}
	for _, v := range views {
		_, text, err := net.SplitHostPort(v.Record.Spec.RemoteAddr)
		if port, bad := strconv.Atoi(text); err == nil && bad == nil {
			ports[port] = true
		}
	}
	ranges := make([]api.PortRange, 0, len(ports))
	for _, p := range slices.Sorted(maps.Keys(ports)) {
		ranges = append(ranges, api.PortRange{Start: p, End: p})
	}
	return ranges
}
