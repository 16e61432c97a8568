package provider

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// fakeToken is the API token of both fakes; a test looks for it where no secret may be.
const fakeToken = "api-token-hunter2"

// tunnelSecret marks the secrets in the fakes' client configs, for the same purpose.
const tunnelSecret = "tunnel-secret-"

// fault is what befalls calls of one route.
type fault struct {
	before func()   // runs first
	status int      // answer a problem of this status and code instead of doing anything
	code   api.Code //
	cut    bool     // hang up without doing anything
	lost   bool     // do it, then hang up instead of answering
	hang   bool     // do nothing until the caller gives up
	times  int      // how many calls; 0 = all
}

// fakeService is one HTTP service with a fault for each route, and a memory of its calls.
type fakeService struct {
	*httptest.Server
	mux *http.ServeMux

	mu     sync.Mutex
	faults map[string]*fault // by route, "*" for all
	calls  []string
}

func newFakeService(t *testing.T) *fakeService {
	s := &fakeService{mux: http.NewServeMux(), faults: map[string]*fault{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// fail makes calls of a route, such as "POST /api/instances", fail.
func (s *fakeService) fail(route string, f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[route] = &f
}

func (s *fakeService) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// seen counts the calls whose route begins so.
func (s *fakeService) seen(prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

func (s *fakeService) begin(route string) fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, route)
	for _, key := range []string{route, "*"} {
		f, ok := s.faults[key]
		if !ok {
			continue
		}
		if f.times == 1 {
			delete(s.faults, key)
		}
		f.times--
		return *f
	}
	return fault{}
}

// ServeHTTP implements http.Handler.
func (s *fakeService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, route := s.mux.Handler(r)
	if r.URL.Query().Has("dry_run") {
		route = "dry " + route
	}
	f := s.begin(route)
	if f.before != nil {
		f.before()
	}
	switch {
	case f.cut:
		panic(http.ErrAbortHandler)
	case f.hang:
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the caller hangs up
		<-r.Context().Done()
	case f.status != 0:
		answerProblem(w, &api.Problem{Status: f.status, Code: f.code, Detail: "the fake was told to fail"})
	case f.lost:
		s.mux.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case r.URL.Path != api.PathReady && r.Header.Get("Authorization") != "Bearer "+fakeToken:
		answerProblem(w, &api.Problem{Status: 401, Code: api.CodeUnauthorized, Detail: "no or wrong token"})
	default:
		s.mux.ServeHTTP(w, r)
	}
}

func answerProblem(w http.ResponseWriter, p *api.Problem) {
	w.Header().Set("Content-Type", api.ProblemContentType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// fake is a manager and an agent that keep what they are told, and run nothing.
type fake struct {
	manager, agent *fakeService

	state     sync.Mutex
	instances map[string]*fakeInstance
	clients   map[string]api.Client
	programs  map[int]bool // public ports that foreign programs hold
	deaf      bool         // no tunnel ever comes up
	nextPort  int
}

type fakeInstance struct {
	api.Instance
	key    string
	config string
	met    bool // had a client
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{
		manager: newFakeService(t), agent: newFakeService(t), nextPort: 10000,
		instances: map[string]*fakeInstance{}, clients: map[string]api.Client{}, programs: map[int]bool{},
	}
	on := func(s *fakeService, route string, h func(http.ResponseWriter, *http.Request)) {
		s.mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
			f.state.Lock()
			defer f.state.Unlock()
			h(w, r)
		})
	}
	ready := func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, api.Ready{Ready: true}) }
	logs := func(w http.ResponseWriter, r *http.Request) {
		answerJSON(w, 200, api.Logs{ServerID: r.PathValue("id"), Lines: []string{"first line", "ERROR the last line"}})
	}
	on(f.manager, "GET /ready", ready)
	on(f.manager, "GET /health", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, 200, api.Health{Service: "rathole-manager", Version: "test", APILevel: api.Level, Features: []string{"wait"}, Engine: "0.5.0"})
	})
	on(f.manager, "GET /api/ports", f.ports)
	on(f.manager, "POST /api/instances", f.create)
	on(f.manager, "GET /api/instances", f.list)
	f.manager.mux.HandleFunc("GET /api/instances/{id}", f.get)
	on(f.manager, "PUT /api/instances/{id}", f.update)
	on(f.manager, "DELETE /api/instances/{id}", f.remove)
	on(f.manager, "GET /api/instances/{id}/client-config", f.clientConfig)
	on(f.manager, "GET /api/instances/{id}/logs", logs)
	on(f.manager, "POST /api/instances/{id}/rotate", f.rotate)
	on(f.manager, "POST /api/instances/{id}/restart", f.restart(func(id string) bool { return f.instances[id] != nil }, api.CodeInstanceNotFound))
	on(f.agent, "POST /api/rathole/clients/{id}/restart", f.restart(func(id string) bool { _, ok := f.clients[id]; return ok }, api.CodeClientNotFound))
	on(f.agent, "GET /ready", ready)
	on(f.agent, "GET /api/rathole/clients", f.listClients)
	on(f.agent, "GET /api/rathole/clients/{id}", f.getClient)
	on(f.agent, "POST /api/rathole/clients/{id}/configure", f.configure)
	on(f.agent, "POST /api/rathole/clients/{id}/stop", f.stop)
	on(f.agent, "GET /api/rathole/clients/{id}/logs", logs)
	return f
}

// backend is the fake as the stories see a world.
func (f *fake) backend() backend {
	return backend{ManagerURL: f.manager.URL, AgentURL: f.agent.URL, Token: secret.New(fakeToken), Ports: []int{30000, 30001, 30002, 30003}}
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
		same := sameSpec(withoutProbe(next), withoutProbe(old.Instance))
		next.Revision++
		old.Instance = next
		if !same {
			old.render()
		}
	}
	answerJSON(w, 200, f.show(old))
}

func notFound(code api.Code) *api.Problem {
	return &api.Problem{Status: 404, Code: code, Detail: "there is none"}
}

func (f *fake) get(w http.ResponseWriter, r *http.Request) {
	until := time.Now()
	if d, err := time.ParseDuration(r.URL.Query().Get("timeout")); err == nil {
		until = until.Add(d)
	}
	wanted := api.Status(r.URL.Query().Get("wait"))
	for {
		f.state.Lock()
		inst, ok := f.instances[r.PathValue("id")]
		var shown api.Instance
		if ok {
			shown = f.show(inst)
		}
		f.state.Unlock()
		switch {
		case !ok:
			answerProblem(w, notFound(api.CodeInstanceNotFound))
			return
		case wanted == "" || shown.Status == wanted || time.Now().After(until) || r.Context().Err() != nil:
			answerJSON(w, 200, shown)
			return
		}
		time.Sleep(5 * time.Millisecond) // a fake's long poll
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

func (f *fake) restart(exists func(id string) bool, code api.Code) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if !exists(r.PathValue("id")) {
			answerProblem(w, notFound(code))
			return
		}
		answerJSON(w, 200, api.Restarted{ServerID: r.PathValue("id"), PID: 1})
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

func (f *fake) configure(w http.ResponseWriter, r *http.Request) {
	var req api.ConfigureClient
	_ = json.NewDecoder(r.Body).Decode(&req)
	c := api.Client{ServerID: r.PathValue("id"), ConfigSHA256: sum(req.ClientConfig), Status: api.StatusDown, Services: []string{}}
	c.Conditions = []api.Condition{{Type: api.Connected, Status: api.False, Reason: "refused", Message: "vps:10001 refused: is the firewall open?"}}
	f.clients[c.ServerID] = c
	answerJSON(w, 200, c)
}

func (f *fake) stop(w http.ResponseWriter, r *http.Request) {
	_, existed := f.clients[r.PathValue("id")]
	delete(f.clients, r.PathValue("id"))
	answerJSON(w, 200, api.StopClient{ServerID: r.PathValue("id"), Existed: existed})
}

func (f *fake) getClient(w http.ResponseWriter, r *http.Request) {
	c, ok := f.clients[r.PathValue("id")]
	if !ok {
		answerProblem(w, notFound(api.CodeClientNotFound))
		return
	}
	answerJSON(w, 200, c)
}

func (f *fake) listClients(w http.ResponseWriter, _ *http.Request) {
	list := api.ClientList{Clients: []api.Client{}}
	for _, id := range slices.Sorted(maps.Keys(f.clients)) {
		list.Clients = append(list.Clients, f.clients[id])
	}
	answerJSON(w, 200, list)
}

// show is an instance with its status: healthy if the agent runs its config.
func (f *fake) show(i *fakeInstance) api.Instance {
	c, runs := f.clients[i.ServerID]
	connected := runs && c.ConfigSHA256 == i.ClientConfigSHA256 && i.Enabled && !f.deaf
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

// resolve fills in a specification's defaults, as the manager does.
func (f *fake) resolve(id string, spec api.InstanceSpec, old *fakeInstance) api.Instance {
	inst := api.Instance{
		ServerID: id, PublicHost: "vps.example", GamePort: spec.GamePort, BeaconPort: spec.BeaconPort, HostIP: spec.HostIP,
		Probe: spec.Probe, AgentURL: spec.AgentURL, Labels: spec.Labels, Transport: spec.Transport, Enabled: spec.Enabled == nil || *spec.Enabled,
		Services: map[string]api.Service{}, Status: api.StatusInactive, Conditions: []api.Condition{},
	}
	if inst.HostIP == "" {
		inst.HostIP = "127.0.0.1"
	}
	if inst.Transport == "" {
		inst.Transport = api.TransportTCP
	}
	if inst.Labels == nil {
		inst.Labels = map[string]string{}
	}
	for name, port := range map[string]int{api.GameService: spec.GamePort, api.BeaconService: spec.BeaconPort} {
		if port != 0 {
			inst.Services[name] = api.Service{Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: port, PublicPort: port, LocalHost: inst.HostIP}
		}
	}
	if game, ok := inst.Services[api.GameService]; ok {
		game.Probe = spec.Probe
		inst.Services[api.GameService] = game
	}
	for name, s := range spec.Services {
		one := api.Service{Protocols: slices.Clone(s.Protocols), LocalPort: s.LocalPort, PublicPort: s.PublicPort, LocalHost: s.LocalHost, Probe: s.Probe}
		slices.Sort(one.Protocols)
		if one.LocalHost == "" {
			one.LocalHost = inst.HostIP
		}
		if one.PublicPort == 0 && old != nil {
			one.PublicPort = old.Services[name].PublicPort
		}
		if one.PublicPort == 0 {
			f.nextPort++
			one.PublicPort = 10000 + f.nextPort
		}
		inst.Services[name] = one
	}
	if old != nil {
		inst.UID, inst.Revision, inst.RatholePort, inst.ClientConfigSHA256 = old.UID, old.Revision, old.RatholePort, old.ClientConfigSHA256
	}
	return inst
}

func sameSpec(a, b api.Instance) bool {
	strip := func(i api.Instance) api.Instance {
		i.Status, i.Conditions = "", nil
		return i
	}
	return reflect.DeepEqual(strip(a), strip(b))
}

// withoutProbe is what the client's config is made from.
func withoutProbe(i api.Instance) api.Instance {
	i.Probe, i.Services = "", maps.Clone(i.Services)
	for name, s := range i.Services {
		s.Probe = ""
		i.Services[name] = s
	}
	return i
}

func (f *fake) conflict(inst api.Instance, replaces string) *api.Problem {
	for _, s := range inst.Services {
		p := &api.Problem{Status: 409, Code: api.CodePortInUse, Detail: fmt.Sprintf("port %d is taken", s.PublicPort)}
		if inst.GamePort == s.PublicPort {
			p.Errors = []api.FieldError{{Location: "body.game_port", Message: "in use"}}
		}
		if f.programs[s.PublicPort] {
			p.Owner = &api.PortOwner{Kind: api.OwnerProgram, Program: "nginx (pid 1)"}
			return p
		}
		for id, other := range f.instances {
			for _, o := range other.Services {
				if id != inst.ServerID && id != replaces && o.PublicPort == s.PublicPort {
					p.Owner, p.Detail = &api.PortOwner{Kind: api.OwnerInstance, ServerID: id}, p.Detail+" by instance "+id
					return p
				}
			}
		}
	}
	return nil
}

// render makes the client's config. What it contains is of no matter here, but that it differs and holds a secret.
func (i *fakeInstance) render() {
	i.config = i.rendered(i.HostIP)
	i.ClientConfigSHA256 = sum(i.config)
}

// rendered is the client's config, for a game at hostIP.
func (i *fakeInstance) rendered(hostIP string) string {
	c := rathole.ClientConfig{RemoteAddr: fmt.Sprintf("127.0.0.1:%d", i.RatholePort), Services: map[string]rathole.ClientService{}}
	for name, s := range i.Services {
		host := s.LocalHost
		if host == i.HostIP {
			host = hostIP
		}
		for _, p := range s.Protocols {
			c.Services[rathole.ServiceName(name, p)] = rathole.ClientService{
				Type: p, Token: secret.New(fmt.Sprintf("%s%d", tunnelSecret, i.Revision)), LocalAddr: net.JoinHostPort(host, strconv.Itoa(s.LocalPort)),
			}
		}
	}
	text, err := c.Encode()
	if err != nil {
		return err.Error() // no client takes it, and the test that asked for it fails
	}
	return fmt.Sprintf("# %s uid %s transport %s\n%s", i.ServerID, i.UID, i.Transport, text)
}

func sum(text string) string {
	digest := sha256.Sum256([]byte(text))
	return hex.EncodeToString(digest[:])
}
