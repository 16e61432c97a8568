package manager

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// finishTimeout is how long a change may take once it is begun; it is finished even if the caller hangs up.
const finishTimeout = 30 * time.Second

// updateRequest is one PUT /api/instances/{id}.
type updateRequest struct {
	api.UpdateInstance
	id       string
	ifMatch  string // an ETag, "*" or empty
	replaces string
	dry      bool
}

// update replaces an instance's specification. The same one touches nothing.
func (m *Manager) update(ctx context.Context, req updateRequest) (view, error) {
	found := append(checkID(req.id, "path.id"), m.check(req.InstanceSpec)...)
	if req.ServerID != "" && req.ServerID != req.id {
		found = append(found, api.FieldError{Location: "body.server_id", Message: "server_id differs from the path's; an instance cannot be renamed", Value: shorten(req.ServerID)})
	}
	if len(found) > 0 {
		return view{}, httpapi.Invalid(found...)
	}
	if req.replaces != "" && !req.dry {
		return view{}, onlyDry()
	}
	unlock, err := m.byID.Await(ctx, req.id)
	if err != nil {
		return view{}, err
	}
	defer unlock()
	existing, err := m.get(req.id)
	if err != nil {
		return view{}, err
	}
	if err := matches(req.ifMatch, existing); err != nil {
		return view{}, err
	}
	before := existing.Record.Spec
	after := resolve(req.InstanceSpec, &before)
	if after.same(before) {
		return existing, nil
	}
	if after.Transport != before.Transport {
		if err := m.engine.Require(ctx, after.Transport, "body.transport"); err != nil {
			return view{}, err
		}
	}
	after.CreateKey = before.CreateKey
	control, err := m.ports.reserve(ctx, claim{
		id: req.id, replaces: req.replaces, control: before.ControlPort,
		services: after.Services, field: after.publicPortField, dry: req.dry,
	})
	if err != nil {
		return view{}, err
	}
	after.ControlPort = control
	draft, err := m.redraft(after, existing.Record)
	if err == nil && req.dry {
		return preview(req.id, draft), nil
	}
	if err != nil {
		m.ports.release(req.id, before.sockets())
		return view{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	v, err := m.sup.Update(ctx, req.id, existing.Record.Revision, draft)
	// Whatever became of the engine, the ports that the record now names are the instance's, and no others.
	m.ports.release(req.id, m.current(req.id, before).sockets())
	return v, err
}

// current is the specification that the record has now.
func (m *Manager) current(id string, before spec) spec {
	if v, err := m.sup.Get(id); err == nil {
		return v.Record.Spec
	}
	return before
}

// remove deletes an instance: it returns once the engine is gone, and with it record and files, and the ports are free.
func (m *Manager) remove(ctx context.Context, id string) error {
	if found := checkID(id, "path.id"); len(found) > 0 {
		return httpapi.Invalid(found...)
	}
	unlock, err := m.byID.Await(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := m.get(id); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	return m.sup.Delete(ctx, id)
}

// gone is told by the supervisor when nothing of an instance is left: only now its ports are free.
func (m *Manager) gone(id string) {
	m.ports.release(id, nil)
	m.prober.forget(id)
	m.doubts.Forget(id)
	m.healing.Forget(id)
	m.stale.forget(id)
}

// get reads an instance; that there is none is an *api.Problem.
func (m *Manager) get(id string) (view, error) {
	v, err := m.sup.Get(id)
	if errors.Is(err, supervisor.ErrNotFound) {
		err = notFound(id)
	}
	return v, err
}

// restart gives an instance a new engine.
func (m *Manager) restart(ctx context.Context, id string) (view, error) {
	unlock, err := m.byID.Await(ctx, id)
	if err != nil {
		return view{}, err
	}
	defer unlock()
	v, err := m.get(id)
	if err != nil {
		return view{}, err
	}
	if v.Record.Desired != supervisor.Running {
		return view{}, httpapi.Invalid(api.FieldError{Location: "path.id", Message: fmt.Sprintf("instance %s is disabled: enable it by PUT with enabled = true", id)})
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	return m.sup.Restart(ctx, id)
}

// renew is restart for a reason that the manager has seen itself.
func (m *Manager) renew(ctx context.Context, id, reason, message string) error {
	defer m.byID.Lock(id)()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	_, err := m.sup.RestartFor(ctx, id, reason, message)
	return err
}

func notFound(id string) *api.Problem {
	return &api.Problem{
		Status: http.StatusNotFound, Code: api.CodeInstanceNotFound,
		Detail: fmt.Sprintf("there is no instance %s", shorten(id)),
	}
}

// etag names one revision of one creation of an instance.
func etag(v view) string {
	return fmt.Sprintf("%q", fmt.Sprintf("%s.%d", v.Record.UID, v.Record.Revision))
}

// matches checks an If-Match header; empty and * match all.
func matches(ifMatch string, v view) error {
	if ifMatch == "" || ifMatch == "*" {
		return nil
	}
	for tag := range strings.SplitSeq(ifMatch, ",") {
		if strings.TrimSpace(tag) == etag(v) {
			return nil
		}
	}
	return &api.Problem{
		Status: http.StatusPreconditionFailed, Code: api.CodeRevisionMismatch,
		Detail: fmt.Sprintf("instance %s is at %s now: read it again, and decide anew", v.Record.ID, etag(v)),
	}
}
