package manager

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

const tomlType = "application/toml"

// Handler returns the HTTP API.
func (m *Manager) Handler() http.Handler { return m.api }

type (
	instanceIn struct {
		ID string `path:"id" doc:"The instance's server_id."`
	}
	instanceOut struct {
		Status int
		ETag   string `header:"ETag"`
		Body   api.Instance
	}
)

func (m *Manager) routes() {
	m.createRoute()
	m.readRoutes()
	m.changeRoutes()
	m.rotateRoute()
	m.configRoute()
	m.probeRoute()
	service.LogRoutes(m.api, api.PathInstance, "instance", func(id string) (string, error) {
		v, err := m.get(id)
		return v.Process.Log, err
	})
	m.history.Routes(m.api, api.PathInstance, "instance", func(id string) error {
		_, err := m.get(id)
		return err
	})
}

func (m *Manager) createRoute() {
	type in struct {
		Key      string `header:"Idempotency-Key" maxLength:"255" doc:"Names this create: the same key again answers 201 again."`
		DryRun   bool   `query:"dry_run" doc:"Answer as if, commit nothing."`
		Replaces string `query:"replaces" doc:"With dry_run: count this instance's ports as free."`
		Body     api.CreateInstance
	}
	httpapi.Handle(m.api, huma.Operation{
		OperationID: "create-instance", Method: http.MethodPost, Path: api.PathInstances, DefaultStatus: http.StatusCreated,
		Summary: "Create an instance, or find the one that the same request made",
	}, func(ctx context.Context, in *in) (*instanceOut, error) {
		v, fresh, err := m.create(ctx, createRequest{CreateInstance: in.Body, key: in.Key, replaces: in.Replaces, dry: in.DryRun})
		if err != nil {
			return nil, err
		}
		if fresh {
			return m.answer(ctx, http.StatusCreated, v, m.watcher.lookNew)
		}
		return m.answer(ctx, http.StatusOK, v, m.watcher.look)
	})
}

func (m *Manager) answer(ctx context.Context, status int, v view, look service.Look[spec]) (*instanceOut, error) {
	if isPreview(v) {
		shown := m.instance(v)
		shown.Status, shown.Conditions = api.StatusInactive, []api.Condition{}
		return &instanceOut{Status: status, Body: shown}, nil
	}
	seen, err := m.observer.ShowBy(ctx, look, v)
	if err != nil { // an error would say that nothing was done
		m.cfg.Log.Warn("answering without a look at the sockets", "id", v.Record.ID, "error", err)
		seen = []service.Observed{service.Unseen(v, err, api.ClientConnected, api.PortsListening)}
	}
	return &instanceOut{Status: status, ETag: etag(v), Body: m.shown(v, seen[0])}, nil
}

func (m *Manager) readRoutes() {
	type listIn struct {
		Prefix string `query:"prefix" doc:"Only instances whose server_id begins so."`
		Status string `query:"status" enum:"inactive,healthy,degraded,down,disabled" doc:"Only instances of this status."`
		Limit  int    `query:"limit" minimum:"1" maximum:"10000" doc:"At most so many; all if left out."`
		After  string `query:"after" doc:"Only instances after this server_id, in order."`
	}
	type listOut struct{ Body api.InstanceList }
	httpapi.Handle(m.api, huma.Operation{
		OperationID: "list-instances", Method: http.MethodGet, Path: api.PathInstances, Summary: "List instances, ordered by server_id",
	}, func(ctx context.Context, in *listIn) (*listOut, error) {
		list, err := m.list(ctx, in.Prefix, api.Status(in.Status), in.After, in.Limit)
		return &listOut{Body: list}, err
	})

	type getIn struct {
		ID string `path:"id" doc:"The instance's server_id."`
		service.Wait
		Want string `query:"wait" enum:"inactive,healthy,degraded,down,disabled" doc:"Answer once the instance has this status, or at the timeout with what it is."`
	}
	httpapi.Handle(m.api, huma.Operation{
		OperationID: "get-instance", Method: http.MethodGet, Path: api.PathInstance, Summary: "Read an instance, at once or when it has a status",
	}, func(ctx context.Context, in *getIn) (*instanceOut, error) {
		timeout, err := in.Duration()
		if err != nil {
			return nil, err
		}
		v, shown, err := m.await(ctx, in.ID, api.Status(in.Want), timeout)
		if err != nil {
			return nil, err
		}
		return &instanceOut{Status: http.StatusOK, ETag: etag(v), Body: shown}, nil
	})

	type portsOut struct{ Body api.Ports }
	httpapi.Handle(m.api, huma.Operation{
		OperationID: "list-ports", Method: http.MethodGet, Path: api.PathPorts, Summary: "Show the ranges of ports, and who has which",
	}, func(context.Context, *struct{}) (*portsOut, error) {
		return &portsOut{Body: m.ports.describe()}, nil
	})
}

func (m *Manager) list(ctx context.Context, prefix string, status api.Status, after string, limit int) (api.InstanceList, error) {
	out := api.InstanceList{Instances: []api.Instance{}}
	views := slices.DeleteFunc(slices.Clone(m.sup.List()), func(v view) bool {
		return v.Record.Desired == supervisor.Absent || !strings.HasPrefix(v.Record.ID, prefix) || v.Record.ID <= after
	})
	if len(views) == 0 {
		return out, nil
	}
	shown, err := m.show(ctx, views...)
	if err != nil {
		return out, err
	}
	for _, i := range shown {
		if status != "" && i.Status != status {
			continue
		}
		if limit > 0 && len(out.Instances) == limit {
			out.Next = out.Instances[limit-1].ServerID
			break
		}
		out.Instances = append(out.Instances, i)
	}
	return out, nil
}

func (m *Manager) changeRoutes() {
	type putIn struct {
		ID       string `path:"id" doc:"The instance's server_id."`
		IfMatch  string `header:"If-Match" doc:"Change only this revision: the ETag of an earlier answer."`
		DryRun   bool   `query:"dry_run" doc:"Answer as if, commit nothing."`
		Replaces string `query:"replaces" doc:"With dry_run: count this instance's ports as free."`
		Body     api.UpdateInstance
	}
	httpapi.Handle(m.api, huma.Operation{
		OperationID: "update-instance", Method: http.MethodPut, Path: api.PathInstance,
		Summary: "Replace an instance's specification; the same one touches nothing",
	}, func(ctx context.Context, in *putIn) (*instanceOut, error) {
		v, err := m.update(ctx, updateRequest{UpdateInstance: in.Body, id: in.ID, ifMatch: in.IfMatch, replaces: in.Replaces, dry: in.DryRun})
		if err != nil {
			return nil, err
		}
		return m.answer(ctx, http.StatusOK, v, m.watcher.look)
	})

	httpapi.Handle(m.api, huma.Operation{
		OperationID: "delete-instance", Method: http.MethodDelete, Path: api.PathInstance, DefaultStatus: http.StatusNoContent,
		Summary: "Remove an instance: engine, files and ports are gone when this answers",
	}, func(ctx context.Context, in *instanceIn) (*struct{}, error) {
		return nil, m.remove(ctx, in.ID)
	})

	type restartOut struct{ Body api.Restarted }
	httpapi.Handle(m.api, huma.Operation{
		OperationID: "restart-instance", Method: http.MethodPost, Path: api.PathInstance + "/restart",
		Summary: "Replace an instance's engine by a new process; its players are dropped",
	}, func(ctx context.Context, in *instanceIn) (*restartOut, error) {
		v, err := m.restart(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return &restartOut{Body: api.Restarted{ServerID: in.ID, PID: v.Process.PID}}, nil
	})
}

func (m *Manager) configRoute() {
	type in struct {
		ID     string `path:"id" doc:"The instance's server_id."`
		HostIP string `query:"host_ip" doc:"Address of the game for this answer only, in place of the instance's own."`
		Accept string `header:"Accept" doc:"application/toml gives the file itself."`
	}
	type out struct {
		Type string `header:"Content-Type"`
		Body []byte
	}
	httpapi.Handle(m.api, huma.Operation{
		OperationID: "client-config", Method: http.MethodGet, Path: api.PathClientConfig,
		Summary: "Read the config of an instance's client; it holds the instance's secrets",
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
			"application/json": {Schema: httpapi.Schema[api.ClientConfig](m.api)},
			tomlType:           {Schema: &huma.Schema{Type: huma.TypeString}},
		}}},
	}, func(_ context.Context, in *in) (*out, error) {
		v, err := m.get(in.ID)
		if err != nil {
			return nil, err
		}
		text, err := m.configFor(v, in.HostIP)
		if err != nil {
			return nil, err
		}
		if strings.Contains(in.Accept, tomlType) {
			return &out{Type: tomlType, Body: []byte(text)}, nil
		}
		body, err := json.Marshal(api.ClientConfig{ServerID: in.ID, Config: text, SHA256: digest(text)})
		return &out{Type: "application/json", Body: body}, err
	})
}

// configFor is an instance's client config, for another host_ip if one is given.
func (m *Manager) configFor(v view, hostIP string) (string, error) {
	s := v.Record.Spec
	if hostIP == "" || hostIP == s.HostIP {
		return s.ClientConfig, nil
	}
	var found fieldErrors
	if checkHost(&found, "query.host_ip", hostIP); len(found) > 0 {
		return "", httpapi.Invalid(found...)
	}
	return m.clientConfig(s, hostIP)
}
