package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// Manager speaks to a rathole-manager. It may be used by many goroutines.
type Manager struct {
	*remote
	reads *reads[api.Instance]
}

// NewManager makes a client; nothing is sent yet. It fails only on the URL.
func NewManager(cfg Config) (*Manager, error) {
	r, err := newRemote("manager", cfg)
	if err != nil {
		return nil, err
	}
	m := &Manager{remote: r}
	m.reads = newReads(fewInstances, m.Get, func(ctx context.Context) ([]api.Instance, error) { return m.List(ctx, "", "") }, func(i api.Instance) string { return i.ServerID })
	r.changed = m.reads.forget
	return m, nil
}

// CreateOptions are what a create may say beside its body.
type CreateOptions struct {
	// IdempotencyKey names this create, so that it can be repeated after a lost answer. Without one it is sent once.
	IdempotencyKey string
	// DryRun asks for the answer and commits nothing.
	DryRun bool
	// Replaces is the instance whose ports count as free, with DryRun.
	Replaces string
}

// Create makes an instance. created is false when it existed, with this very specification, under another key or none.
func (m *Manager) Create(ctx context.Context, req api.CreateInstance, opts CreateOptions) (inst api.Instance, created bool, err error) {
	c := call{
		method: http.MethodPost, path: api.PathInstances, body: req, result: &inst, query: url.Values{},
		ours: func() bool { return inst.ServerID == req.ServerID },
		once: opts.IdempotencyKey == "" && !opts.DryRun,
	}
	if opts.IdempotencyKey != "" {
		c.header = map[string]string{api.IdempotencyKeyHeader: opts.IdempotencyKey}
	}
	if opts.DryRun {
		c.query.Set("dry_run", "true")
	}
	if opts.Replaces != "" {
		c.query.Set("replaces", opts.Replaces)
	}
	status, err := m.do(ctx, c)
	if err != nil {
		return api.Instance{}, false, err
	}
	return inst, status == http.StatusCreated, nil
}

// Get reads an instance.
func (m *Manager) Get(ctx context.Context, id string) (inst api.Instance, err error) {
	_, err = m.do(ctx, call{method: http.MethodGet, path: api.PathInstance, id: id, result: &inst, ours: is(id, &inst.ServerID)})
	return inst, err
}

// Refresh reads an instance as one of many: where many are read in a row, one list answers them, so what it says may be 5 s
// old. A change by this client is always seen.
func (m *Manager) Refresh(ctx context.Context, id string) (api.Instance, error) {
	return m.reads.read(ctx, id)
}

// Wait reads an instance once it has the status, or at the timeout (up to 50 s) as it is then. That is no error: look at
// the status of the answer.
func (m *Manager) Wait(ctx context.Context, id string, status api.Status, timeout time.Duration) (inst api.Instance, err error) {
	_, err = m.do(ctx, call{
		method: http.MethodGet, path: api.PathInstance, id: id, result: &inst, ours: is(id, &inst.ServerID),
		query: url.Values{"wait": {string(status)}, "timeout": {timeout.String()}},
	})
	return inst, err
}

// List reads all instances whose server_id begins with prefix, and whose status is the given one, ordered by server_id.
// Empty means any.
func (m *Manager) List(ctx context.Context, prefix string, status api.Status) ([]api.Instance, error) {
	const page = 1000 // see maxAnswer
	var all []api.Instance
	for after := ""; ; {
		q := url.Values{"limit": {strconv.Itoa(page)}}
		for key, value := range map[string]string{"prefix": prefix, "status": string(status), "after": after} {
			if value != "" {
				q.Set(key, value)
			}
		}
		var list api.InstanceList
		if _, err := m.do(ctx, call{method: http.MethodGet, path: api.PathInstances, query: q, result: &list, ours: func() bool { return list.Instances != nil }}); err != nil {
			return nil, err
		}
		all = append(all, list.Instances...)
		if list.Next == "" {
			return all, nil
		}
		after = list.Next
	}
}

// UpdateOptions are what an update may say beside its body.
type UpdateOptions struct {
	// IfMatch is the ETag of the revision that the caller has seen; another one is refused. Empty means any.
	IfMatch string
	// DryRun asks for the answer and commits nothing.
	DryRun bool
}

// Update replaces an instance's specification; the same one touches nothing.
func (m *Manager) Update(ctx context.Context, id string, req api.UpdateInstance, opts UpdateOptions) (inst api.Instance, err error) {
	c := call{method: http.MethodPut, path: api.PathInstance, id: id, body: req, result: &inst, ours: is(id, &inst.ServerID), query: url.Values{}}
	if opts.IfMatch != "" {
		c.header = map[string]string{"If-Match": opts.IfMatch}
		c.once = true // after a lost answer the revision has moved on, and the repetition would be refused
	}
	if opts.DryRun {
		c.query.Set("dry_run", "true")
	}
	_, err = m.do(ctx, c)
	return inst, err
}

// ETag is what IfMatch takes for an instance as it was read.
func ETag(inst api.Instance) string {
	return fmt.Sprintf("%q", fmt.Sprintf("%s.%d", inst.UID, inst.Revision))
}

// Delete removes an instance; it returns once the process is gone.
func (m *Manager) Delete(ctx context.Context, id string) error {
	_, err := m.do(ctx, call{method: http.MethodDelete, path: api.PathInstance, id: id})
	return err
}

// ClientConfig reads the config of an instance's client, secrets included. A hostIP other than "" takes the place of the
// instance's host_ip in this answer only.
func (m *Manager) ClientConfig(ctx context.Context, id, hostIP string) (cfg api.ClientConfig, err error) {
	q := url.Values{}
	if hostIP != "" {
		q.Set("host_ip", hostIP)
	}
	_, err = m.do(ctx, call{
		method: http.MethodGet, path: api.PathClientConfig, id: id, query: q, result: &cfg,
		ours: func() bool {
			digest := sha256.Sum256([]byte(cfg.Config))
			return cfg.ServerID == id && cfg.SHA256 == hex.EncodeToString(digest[:])
		},
	})
	return cfg, err
}

// Restart gives an instance's server a new process. It is sent once.
func (m *Manager) Restart(ctx context.Context, id string) (done api.Restarted, err error) {
	_, err = m.do(ctx, call{method: http.MethodPost, path: api.PathInstance + "/restart", id: id, result: &done, ours: is(id, &done.ServerID), once: true})
	return done, err
}

// Rotate gives every service of an instance a new secret: the client is shut out until it has the new config. It is sent
// once; ifMatch, the ETag of the revision that the caller has seen, keeps a caller's own repetition from rotating twice.
func (m *Manager) Rotate(ctx context.Context, id, ifMatch string) (inst api.Instance, err error) {
	c := call{method: http.MethodPost, path: api.PathInstance + "/rotate", id: id, result: &inst, ours: is(id, &inst.ServerID), once: true}
	if ifMatch != "" {
		c.header = map[string]string{"If-Match": ifMatch}
	}
	_, err = m.do(ctx, c)
	return inst, err
}

// Probe asks an instance's game, through its public ports, whether players reach it; it takes up to 5 s. That it is not
// reachable is no error: look at the report.
func (m *Manager) Probe(ctx context.Context, id string) (report api.ProbeReport, err error) {
	_, err = m.do(ctx, call{method: http.MethodPost, path: api.PathProbe, id: id, result: &report, ours: is(id, &report.ServerID)})
	return report, err
}

// Logs reads the lines of an instance's engine, oldest first.
func (m *Manager) Logs(ctx context.Context, id string, q LogQuery) (api.Logs, error) {
	return m.logs(ctx, api.PathInstance, id, q)
}

// FollowLogs yields the lines of an instance's engine, those that Logs gives and those to come, until ctx ends or the
// instance does; the last thing that it yields is the error that ended it, if one did.
func (m *Manager) FollowLogs(ctx context.Context, id string, q LogQuery) iter.Seq2[string, error] {
	return m.followLogs(ctx, api.PathInstance, id, q)
}

// Ports reads the ranges of ports and who has which.
func (m *Manager) Ports(ctx context.Context) (ports api.Ports, err error) {
	_, err = m.do(ctx, call{method: http.MethodGet, path: api.PathPorts, result: &ports, ours: func() bool { return ports.Control.Ranges != nil }})
	return ports, err
}
