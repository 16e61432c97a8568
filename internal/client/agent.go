package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// Agent speaks to a rathole-agent. It may be used by many goroutines.
type Agent struct {
	*remote
	reads *reads[api.Client]
}

// NewAgent makes a client; nothing is sent yet. It fails only on the URL.
func NewAgent(cfg Config) (*Agent, error) {
	r, err := newRemote("agent", cfg)
	if err != nil {
		return nil, err
	}
	a := &Agent{remote: r}
	a.reads = newReads(fewClients, a.Get, a.List, func(c api.Client) string { return c.ServerID })
	r.changed = a.reads.forget
	return a, nil
}

// Configure makes the agent run a client with that config (TOML). The same bytes change nothing. replace takes over a
// client of that name which belongs to another manager; without it the agent refuses with client_exists.
func (a *Agent) Configure(ctx context.Context, id, config string, replace bool) (c api.Client, err error) {
	q := url.Values{}
	if replace {
		q.Set("replace", "true")
	}
	_, err = a.do(ctx, call{
		method: http.MethodPost, path: api.PathClient + "/configure", id: id, query: q,
		body: api.ConfigureClient{ClientConfig: config}, result: &c, ours: is(id, &c.ServerID),
	})
	return c, err
}

// Stop ends a client and removes its files. existed is false when the agent had no such client; that is no error.
func (a *Agent) Stop(ctx context.Context, id string) (existed bool, err error) {
	var done api.StopClient
	_, err = a.do(ctx, call{method: http.MethodPost, path: api.PathClient + "/stop", id: id, result: &done, ours: is(id, &done.ServerID)})
	return done.Existed, err
}

// Get reads a client.
func (a *Agent) Get(ctx context.Context, id string) (c api.Client, err error) {
	_, err = a.do(ctx, call{method: http.MethodGet, path: api.PathClient, id: id, result: &c, ours: is(id, &c.ServerID)})
	return c, err
}

// Refresh reads a client as one of many, as Manager.Refresh does.
func (a *Agent) Refresh(ctx context.Context, id string) (api.Client, error) {
	return a.reads.read(ctx, id)
}

// List reads all clients of the agent.
func (a *Agent) List(ctx context.Context) ([]api.Client, error) {
	var list api.ClientList
	_, err := a.do(ctx, call{method: http.MethodGet, path: api.PathClients, result: &list, ours: func() bool { return list.Clients != nil }})
	return list.Clients, err
}

// Restart gives a client a new process. It is sent once.
func (a *Agent) Restart(ctx context.Context, id string) (done api.Restarted, err error) {
	_, err = a.do(ctx, call{method: http.MethodPost, path: api.PathClient + "/restart", id: id, result: &done, ours: is(id, &done.ServerID), once: true})
	return done, err
}

// Wait reads a client once it has the status, or at the timeout (up to 50 s) as it is then. That is no error: look at the
// status of the answer.
func (a *Agent) Wait(ctx context.Context, id string, status api.Status, timeout time.Duration) (c api.Client, err error) {
	_, err = a.do(ctx, call{
		method: http.MethodGet, path: api.PathClient, id: id, result: &c, ours: is(id, &c.ServerID),
		query: url.Values{"wait": {string(status)}, "timeout": {timeout.String()}},
	})
	return c, err
}

// Logs reads the lines of a client's engine, oldest first.
func (a *Agent) Logs(ctx context.Context, id string, q LogQuery) (api.Logs, error) {
	return a.logs(ctx, api.PathClient, id, q)
}

// FollowLogs yields the lines of a client's engine, those that Logs gives and those to come, until ctx ends or the client
// does; the last thing that it yields is the error that ended it, if one did.
func (a *Agent) FollowLogs(ctx context.Context, id string, q LogQuery) iter.Seq2[string, error] {
	return a.followLogs(ctx, api.PathClient, id, q)
}

// Health tells that a service's process answers, be it a manager or an agent, which version it is and what it can do.
func (r *remote) Health(ctx context.Context) (h api.Health, err error) {
	_, err = r.do(ctx, call{method: http.MethodGet, path: api.PathHealth, result: &h, ours: func() bool { return strings.HasPrefix(h.Service, "rathole-") }})
	return h, err
}

// Engine tells which rathole a service uses, which one its machine has now, and how far an upgrade is.
func (r *remote) Engine(ctx context.Context) (e api.Engine, err error) {
	_, err = r.do(ctx, call{method: http.MethodGet, path: api.PathEngine, result: &e, ours: func() bool { return e.Running != nil }})
	return e, err
}

// UpgradeEngine makes a service take up the rathole that its machine has now, tunnel by tunnel. begun is false when there is
// nothing to do; else ask Engine until its Upgrade is over. It is sent once: after a lost answer, Engine knows too. One that
// is under way already is refused with upgrade_in_progress.
func (r *remote) UpgradeEngine(ctx context.Context) (e api.Engine, begun bool, err error) {
	status, err := r.do(ctx, call{method: http.MethodPost, path: api.PathEngineUpgrade, result: &e, ours: func() bool { return e.Running != nil }, once: true})
	return e, status == http.StatusAccepted, err
}

// Ready returns nil once the service takes changes; a service that is still loading is an error that IsTransient.
func (r *remote) Ready(ctx context.Context) error {
	var answer api.Ready
	_, err := r.do(ctx, call{method: http.MethodGet, path: api.PathReady, result: &answer, ours: func() bool { return answer.Ready }})
	return err
}

// Reconciliation reads which engines run without a record, and which records cannot be read.
func (r *remote) Reconciliation(ctx context.Context) (found api.Reconciliation, err error) {
	_, err = r.do(ctx, call{method: http.MethodGet, path: api.PathReconcile, result: &found, ours: func() bool { return found.Strangers != nil }})
	return found, err
}

// AcceptStrangers has the engines stopped that run without a record.
func (r *remote) AcceptStrangers(ctx context.Context) (done api.Reconciliation, err error) {
	_, err = r.do(ctx, call{
		method: http.MethodPost, path: api.PathReconcile, body: api.Reconcile{AcceptStrangers: true}, result: &done,
		ours: func() bool { return done.Strangers != nil },
		once: true, // the answer of the first says what was stopped
	})
	return done, err
}
