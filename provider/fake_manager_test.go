package provider

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

type fakeInstance struct {
	api.Instance
	key    string
	config string
	met    bool // had a client
}

func (f *fake) managerRoutes() {
	f.on(f.manager, "GET /ready", fakeReady)
	f.on(f.manager, "GET /health", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, 200, api.Health{Service: "rathole-manager", Version: "test", APILevel: api.Level, Features: []string{"wait"}, Engine: "0.5.0"})
	})
	f.on(f.manager, "GET /api/ports", f.ports)
	f.on(f.manager, "POST /api/instances", f.create)
	f.on(f.manager, "GET /api/instances", f.list)
	f.manager.mux.HandleFunc("GET /api/instances/{id}", f.get)
	f.on(f.manager, "PUT /api/instances/{id}", f.update)
	f.on(f.manager, "DELETE /api/instances/{id}", f.remove)
	f.on(f.manager, "GET /api/instances/{id}/client-config", f.clientConfig)
	f.on(f.manager, "GET /api/instances/{id}/logs", fakeLogs)
	f.manager.mux.HandleFunc("POST /api/instances/{id}/probe", f.probe)
	f.on(f.manager, "POST /api/instances/{id}/rotate", f.rotate)
	f.on(f.manager, "POST /api/instances/{id}/restart", f.restart(func(id string) bool { return f.instances[id] != nil }, api.CodeInstanceNotFound))
}

func (f *fake) create(w http.ResponseWriter, r *http.Request) {
	var req api.CreateInstance
	_ = json.NewDecoder(r.Body).Decode(&req)
	key, dry := r.Header.Get(api.IdempotencyKeyHeader), r.URL.Query().Has("dry_run")
	if old, ok := f.instances[req.ServerID]; ok {
		next := f.resolve(req.ServerID, req.InstanceSpec, old)
		switch {
		case !sameSpec(next, old.Instance):
			answerProblem(w, &api.Problem{Status: 409, Code: api.CodeInstanceExists, Detail: "it exists with another specification"})
		case key != "" && key == old.key:
			answerJSON(w, 201, f.show(old))
		default:
			answerJSON(w, 200, f.show(old))
		}
		return
	}
	inst := f.resolve(req.ServerID, req.InstanceSpec, nil)
	if p := f.conflict(inst, r.URL.Query().Get("replaces")); p != nil {
		answerProblem(w, p)
		return
	}
	if dry {
		answerJSON(w, 201, inst)
		return
	}
	f.nextPort++
	inst.RatholePort, inst.Revision, inst.UID = f.nextPort, 1, fmt.Sprintf("uid%d", f.nextPort)
	made := &fakeInstance{Instance: inst, key: key}
	made.render()
	f.instances[req.ServerID] = made
	answerJSON(w, 201, f.show(made))
}

func (f *fake) update(w http.ResponseWriter, r *http.Request) {
	old, ok := f.instances[r.PathValue("id")]
	if !ok {
		answerProblem(w, notFound(api.CodeInstanceNotFound))
		return
	}
	var req api.UpdateInstance
	_ = json.NewDecoder(r.Body).Decode(&req)
	next := f.resolve(old.ServerID, req.InstanceSpec, old)
	if p := f.conflict(next, ""); p != nil {
		answerProblem(w, p)
		return
	}
	if !r.URL.Query().Has("dry_run") && !sameSpec(next, old.Instance) {
		same := sameSpec(tunnelOf(next), tunnelOf(old.Instance))
		next.Revision++
		old.Instance = next
		if !same {
			old.render()
		}
	}
	answerJSON(w, 200, f.show(old))
}

// shown is an instance as callers see it now.
func (f *fake) shown(id string) (shown api.Instance, ok bool) {
	f.state.Lock()
	defer f.state.Unlock()
	inst, ok := f.instances[id]
	if ok {
		shown = f.show(inst)
	}
	return shown, ok
}

func (f *fake) get(w http.ResponseWriter, r *http.Request) {
	until := time.Now()
	if d, err := time.ParseDuration(r.URL.Query().Get("timeout")); err == nil {
		until = until.Add(d)
	}
	wanted := api.Status(r.URL.Query().Get("wait"))
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		shown, ok := f.shown(r.PathValue("id"))
		switch {
		case !ok:
			answerProblem(w, notFound(api.CodeInstanceNotFound))
			return
		case wanted == "" || shown.Status == wanted || time.Now().After(until) || r.Context().Err() != nil:
			answerJSON(w, 200, shown)
			return
		}
		time.Sleep(pause) // a fake's long poll
	}
}

func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	list := api.InstanceList{Instances: []api.Instance{}}
	status := api.Status(r.URL.Query().Get("status"))
	for _, id := range slices.Sorted(maps.Keys(f.instances)) {
		inst := f.show(f.instances[id])
		if strings.HasPrefix(id, r.URL.Query().Get("prefix")) && (status == "" || status == inst.Status) {
			list.Instances = append(list.Instances, inst)
		}
	}
	answerJSON(w, 200, list)
}

func (f *fake) rotate(w http.ResponseWriter, r *http.Request) {
	inst, ok := f.instances[r.PathValue("id")]
	switch {
	case !ok:
		answerProblem(w, notFound(api.CodeInstanceNotFound))
	case r.Header.Get("If-Match") != "" && r.Header.Get("If-Match") != client.ETag(inst.Instance):
		answerProblem(w, &api.Problem{Status: 412, Code: api.CodeRevisionMismatch, Detail: "it has another revision"})
	default:
		inst.Revision++
		inst.render()
		answerJSON(w, 200, f.show(inst))
	}
}

func (f *fake) ports(w http.ResponseWriter, _ *http.Request) {
	pool := func(first, last int) api.PortPool {
		return api.PortPool{Ranges: []api.PortRange{{Start: first, End: last}}, Total: last - first + 1, Free: last - first + 1, Uses: []api.PortUse{}}
	}
	all := api.Ports{Control: pool(10000, 20000), Public: pool(30000, 32767)}
	use := func(p *api.PortPool, u api.PortUse) {
		p.Allocated, p.Free, p.Uses = p.Allocated+1, p.Free-1, append(p.Uses, u)
	}
	for _, inst := range f.instances {
		use(&all.Control, api.PortUse{Port: inst.RatholePort, Protocols: []api.Protocol{api.TCP}, ServerID: inst.ServerID})
		for name, s := range inst.Services {
			use(&all.Public, api.PortUse{Port: s.PublicPort, Protocols: s.Protocols, ServerID: inst.ServerID, Service: name})
		}
	}
	answerJSON(w, 200, all)
}

func (f *fake) remove(w http.ResponseWriter, r *http.Request) {
	if _, ok := f.instances[r.PathValue("id")]; !ok {
		answerProblem(w, notFound(api.CodeInstanceNotFound))
		return
	}
	delete(f.instances, r.PathValue("id"))
	w.WriteHeader(204)
}

func (f *fake) clientConfig(w http.ResponseWriter, r *http.Request) {
	inst, ok := f.instances[r.PathValue("id")]
	if !ok {
		answerProblem(w, notFound(api.CodeInstanceNotFound))
		return
	}
	text := inst.config
	if hostIP := r.URL.Query().Get("host_ip"); hostIP != "" {
		text = inst.rendered(hostIP)
	}
	answerJSON(w, 200, api.ClientConfig{ServerID: inst.ServerID, Config: text, SHA256: sum(text)})
}

// show is an instance with its status: healthy if the agent runs its config.
func (f *fake) show(i *fakeInstance) api.Instance {
	running := 0
	for _, a := range f.agents() {
		if c, runs := a.clients[i.ServerID]; runs && c.ConfigSHA256 == i.ClientConfigSHA256 {
			running++
		}
	}
	connected := running == 1 && i.Enabled && !f.deaf // two push each other out
	i.met = i.met || connected
	shown := i.Instance
	cond := api.Condition{Type: api.ClientConnected, Status: api.False, Reason: "never_connected", Message: "no client has connected yet"}
	switch {
	case !i.Enabled:
		shown.Status = api.StatusDisabled
	case connected:
		shown.Status = api.StatusHealthy
		cond = api.Condition{Type: api.ClientConnected, Status: api.True, Reason: "connected"}
	case i.met:
		shown.Status = api.StatusDown
	default:
		shown.Status = api.StatusInactive
	}
	shown.Conditions = []api.Condition{cond}
	return shown
}
