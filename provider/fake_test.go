package provider

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// fakeToken is the API token of the fakes; a test looks for it where no secret may be.
const fakeToken = "api-token-hunter2"

// tunnelSecret marks the secrets in the fakes' client configs, for the same purpose.
const tunnelSecret = "tunnel-secret-"

// fake is a manager and two agents that keep what they are told, and run nothing. Most tests need the first agent only.
type fake struct {
	manager       *fakeService
	agent, second *fakeAgent
	log           *callLog

	state     sync.Mutex
	instances map[string]*fakeInstance
	programs  map[int]bool // public ports that foreign programs hold
	deaf      bool         // no tunnel ever comes up
	nextPort  int
}

// newFake makes a fake on ports of this machine.
func newFake(t *testing.T) *fake {
	t.Helper()
	f := makeFake()
	for _, s := range f.services() {
		s.serve(t)
	}
	return f
}

func makeFake() *fake {
	log := &callLog{}
	f := &fake{
		manager: newFakeService("manager", log), agent: newFakeAgent("agent", log), second: newFakeAgent("second", log), log: log, nextPort: 10000,
		instances: map[string]*fakeInstance{}, programs: map[int]bool{},
	}
	f.managerRoutes()
	for _, a := range f.agents() {
		f.agentRoutes(a)
	}
	return f
}

func (f *fake) agents() []*fakeAgent { return []*fakeAgent{f.agent, f.second} }

func (f *fake) services() []*fakeService {
	return []*fakeService{f.manager, f.agent.fakeService, f.second.fakeService}
}

// mend ends all faults.
func (f *fake) mend() {
	for _, s := range f.services() {
		s.mend()
	}
	f.state.Lock()
	defer f.state.Unlock()
	f.deaf = false
}

// on serves a route, one call at a time in the whole fake.
func (f *fake) on(s *fakeService, route string, h http.HandlerFunc) {
	s.mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
		f.state.Lock()
		defer f.state.Unlock()
		h(w, r)
	})
}

// backend is the fake as the stories see a world.
func (f *fake) backend() backend {
	return backend{ManagerURL: f.manager.URL, AgentURL: f.agent.URL, Token: secret.New(fakeToken), Ports: storyPorts()}
}

func fakeReady(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, 200, api.Ready{Ready: true})
}

func fakeLogs(w http.ResponseWriter, r *http.Request) {
	answerJSON(w, 200, api.Logs{ServerID: r.PathValue("id"), Lines: []string{"first line", "ERROR the last line"}})
}

func notFound(code api.Code) *api.Problem {
	return &api.Problem{Status: 404, Code: code, Detail: "there is none"}
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

// fakeAgent is an agent of a fake.
type fakeAgent struct {
	*fakeService
	clients map[string]api.Client
}

func newFakeAgent(name string, log *callLog) *fakeAgent {
	return &fakeAgent{fakeService: newFakeService(name, log), clients: map[string]api.Client{}}
}

func (f *fake) agentRoutes(a *fakeAgent) {
	f.on(a.fakeService, "GET /ready", fakeReady)
	f.on(a.fakeService, "GET /api/rathole/clients", a.list)
	f.on(a.fakeService, "GET /api/rathole/clients/{id}", a.get)
	f.on(a.fakeService, "POST /api/rathole/clients/{id}/configure", a.configure)
	f.on(a.fakeService, "POST /api/rathole/clients/{id}/stop", a.stop)
	f.on(a.fakeService, "POST /api/rathole/clients/{id}/restart", f.restart(func(id string) bool { _, ok := a.clients[id]; return ok }, api.CodeClientNotFound))
	f.on(a.fakeService, "GET /api/rathole/clients/{id}/logs", fakeLogs)
}

func (a *fakeAgent) configure(w http.ResponseWriter, r *http.Request) {
	var req api.ConfigureClient
	_ = json.NewDecoder(r.Body).Decode(&req)
	c := api.Client{ServerID: r.PathValue("id"), ConfigSHA256: sum(req.ClientConfig), Status: api.StatusDown, Services: []string{}}
	c.Conditions = []api.Condition{{Type: api.Connected, Status: api.False, Reason: "refused", Message: "vps:10001 refused: is the firewall open?"}}
	a.clients[c.ServerID] = c
	answerJSON(w, 200, c)
}

func (a *fakeAgent) stop(w http.ResponseWriter, r *http.Request) {
	_, existed := a.clients[r.PathValue("id")]
	delete(a.clients, r.PathValue("id"))
	answerJSON(w, 200, api.StopClient{ServerID: r.PathValue("id"), Existed: existed})
}

func (a *fakeAgent) get(w http.ResponseWriter, r *http.Request) {
	c, ok := a.clients[r.PathValue("id")]
	if !ok {
		answerProblem(w, notFound(api.CodeClientNotFound))
		return
	}
	answerJSON(w, 200, c)
}

func (a *fakeAgent) list(w http.ResponseWriter, _ *http.Request) {
	list := api.ClientList{Clients: []api.Client{}}
	for _, id := range slices.Sorted(maps.Keys(a.clients)) {
		list.Clients = append(list.Clients, a.clients[id])
	}
	answerJSON(w, 200, list)
}

func sum(text string) string {
	digest := sha256.Sum256([]byte(text))
	return hex.EncodeToString(digest[:])
}
