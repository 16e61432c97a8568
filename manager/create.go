package manager

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// view is an instance as the supervisor has it.
type view = supervisor.View[spec]

// createRequest is one POST /api/instances.
type createRequest struct {
	api.CreateInstance
	key      string // Idempotency-Key
	replaces string
	dry      bool
}

// controlPortTries is how many control ports a create may try: between asking the kernel for a free one and the engine's
// own bind, any program can take it.
const controlPortTries = 3

// create makes an instance, or finds the one that the same request made before. fresh tells which. An error means that
// nothing exists because of this call.
func (m *Manager) create(ctx context.Context, req createRequest) (v view, fresh bool, err error) {
	if found := append(checkID(req.ServerID, "body.server_id"), m.check(req.InstanceSpec)...); len(found) > 0 {
		return view{}, false, httpapi.Invalid(found...)
	}
	if req.replaces != "" && !req.dry {
		return view{}, false, onlyDry()
	}
	unlock, err := m.byID.Await(ctx, req.ServerID)
	if err != nil {
		return view{}, false, err
	}
	defer unlock()
	existing, err := m.sup.Get(req.ServerID)
	if err == nil {
		return existing, existing.Record.Spec.CreateKey == req.key && req.key != "", m.sameAsBefore(existing, req)
	}
	// One that is being removed still has its ports.
	if err := m.sup.Vacant(ctx, req.ServerID); err != nil {
		return view{}, false, err
	}
	if err := m.engine.Require(ctx, req.Transport, "body.transport"); err != nil {
		return view{}, false, err
	}
	for range controlPortTries {
		v, err = m.tryCreate(ctx, req)
		var f *supervisor.Failure
		if !errors.As(err, &f) || f.Reason != engine.ReasonControlPortInUse {
			break
		}
		m.cfg.Log.Warn("control port was taken meanwhile, trying another", "id", req.ServerID)
	}
	return v, err == nil, err
}

// sameAsBefore tells whether a request asks for the instance that exists; an *api.Problem if not.
func (m *Manager) sameAsBefore(existing view, req createRequest) error {
	wanted := resolve(req.InstanceSpec, &existing.Record.Spec)
	if wanted.same(existing.Record.Spec) {
		return nil
	}
	return &api.Problem{
		Status: http.StatusConflict, Code: api.CodeInstanceExists,
		Detail: fmt.Sprintf("instance %s exists with another specification: PUT changes it, DELETE removes it", req.ServerID),
	}
}

func (m *Manager) tryCreate(ctx context.Context, req createRequest) (view, error) {
	s := resolve(req.InstanceSpec, nil)
	s.CreateKey = req.key
	control, err := m.ports.reserve(ctx, claim{
		id: req.ServerID, replaces: req.replaces, services: s.Services, field: s.publicPortField, dry: req.dry,
	})
	if err != nil {
		return view{}, err
	}
	s.ControlPort = control
	draft, err := m.draft(s, nil)
	if err == nil && req.dry {
		return preview(req.ServerID, draft), nil
	}
	var v view
	if err == nil {
		v, err = m.sup.Create(ctx, req.ServerID, draft)
	}
	if err != nil && !m.sup.Has(req.ServerID) {
		m.ports.release(req.ServerID, nil)
	}
	return v, err
}

// onlyDry refuses replaces= where it would take ports from an instance that has them.
func onlyDry() *api.Problem {
	return httpapi.Invalid(api.FieldError{Location: "query.replaces", Message: "replaces goes with dry_run=true only"})
}

// draft gives a specification its secrets and configs.
func (m *Manager) draft(s spec, before *spec) (supervisor.Draft[spec], error) {
	if err := s.renew(before); err != nil {
		return supervisor.Draft[spec]{}, err
	}
	return m.render(s)
}

// render gives a specification, which has its secrets, its configs.
func (m *Manager) render(s spec) (supervisor.Draft[spec], error) {
	server, err := m.serverConfig(s)
	if err != nil {
		return supervisor.Draft[spec]{}, fmt.Errorf("render the server's config: %w", err)
	}
	s.ClientConfig, err = m.clientConfig(s, "")
	if err != nil {
		return supervisor.Draft[spec]{}, fmt.Errorf("render the client's config: %w", err)
	}
	desired := supervisor.Running
	if !s.Enabled {
		desired = supervisor.Stopped
	}
	return supervisor.Draft[spec]{Desired: desired, Config: server, Spec: s}, nil
}

// redraft is draft for an instance that exists. Probes stand in no config: if nothing else changes, the configs stay as they
// are to the letter, also where a newer version of this program would write them in another way.
func (m *Manager) redraft(s spec, before record) (supervisor.Draft[spec], error) {
	if !s.withoutProbes().same(before.Spec.withoutProbes()) {
		return m.draft(s, &before.Spec)
	}
	s.Secrets, s.ClientConfig = before.Spec.Secrets, before.Spec.ClientConfig
	return supervisor.Draft[spec]{Desired: before.Desired, Config: before.Config, Spec: s}, nil
}

// preview is what a dry run answers: the instance as it would be.
func preview(id string, d supervisor.Draft[spec]) view {
	return view{Record: record{ID: id, Desired: d.Desired, Spec: d.Spec}, Phase: supervisor.PhasePending}
}

// isPreview tells a dry run's view from one of a record.
func isPreview(v view) bool { return v.Record.UID == "" }
