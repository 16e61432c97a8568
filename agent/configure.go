package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// finishTimeout is how long a change may take once it is begun; it is finished even if the caller hangs up.
const finishTimeout = 30 * time.Second

// configure makes a client run a config, and tells whether there was none before. The same bytes again touch nothing; what is
// refused leaves what runs alone.
func (a *Agent) configure(ctx context.Context, id, text string, replace bool) (v view, fresh bool, err error) {
	if err := checkID(id); err != nil {
		return view{}, false, err
	}
	wanted, err := a.accept(ctx, text)
	if err != nil {
		return view{}, false, err
	}
	unlock, err := a.byID.Await(ctx, id)
	if err != nil {
		return view{}, false, err
	}
	defer unlock()
	existing, err := a.sup.Get(id)
	found := err == nil
	if err != nil && !errors.Is(err, supervisor.ErrNotFound) {
		return view{}, false, err
	}
	if found && existing.Record.Spec.Pushed == text {
		return existing, false, nil
	}
	if found && !replace && existing.Record.Spec.remoteHost() != wanted.remoteHost() {
		return view{}, false, &api.Problem{
			Status: http.StatusConflict, Code: api.CodeClientExists,
			Detail: fmt.Sprintf("client %s belongs to %s, not to %s: stop it first, or replace it by ?replace=true",
				id, existing.Record.Spec.remoteHost(), wanted.remoteHost()),
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	wanted.keepBounced(existing.Record.Spec)
	config, err := wanted.engineConfig()
	if err != nil {
		return view{}, false, err
	}
	draft := supervisor.Draft[spec]{Desired: supervisor.Running, Config: config, Spec: wanted}
	if found {
		v, err = a.sup.Update(ctx, id, existing.Record.Revision, draft)
		return v, false, err
	}
	v, err = a.sup.Create(ctx, id, draft)
	return v, true, err
}

// stop removes a client: process, config and record. It tells whether there was one.
func (a *Agent) stop(ctx context.Context, id string) (bool, error) {
	if err := checkID(id); err != nil {
		return false, err
	}
	unlock, err := a.byID.Await(ctx, id)
	if err != nil {
		return false, err
	}
	defer unlock()
	if _, err := a.sup.Get(id); errors.Is(err, supervisor.ErrNotFound) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	return true, a.sup.Delete(ctx, id)
}

// restart gives a client a new process.
func (a *Agent) restart(ctx context.Context, id string) (view, error) {
	unlock, err := a.byID.Await(ctx, id)
	if err != nil {
		return view{}, err
	}
	defer unlock()
	if _, err := a.get(id); err != nil {
		return view{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	return a.sup.Restart(ctx, id)
}

// renew is restart for a reason that the agent has seen itself.
func (a *Agent) renew(ctx context.Context, id, reason, message string) error {
	defer a.byID.Lock(id)()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	_, err := a.sup.RestartFor(ctx, id, reason, message)
	return err
}

// get reads a client; that there is none is an *api.Problem.
func (a *Agent) get(id string) (view, error) {
	v, err := a.sup.Get(id)
	if errors.Is(err, supervisor.ErrNotFound) {
		err = notFound(id)
	}
	return v, err
}

func checkID(id string) error {
	if rathole.ValidServerID(id) {
		return nil
	}
	return httpapi.Invalid(api.FieldError{
		Location: "path.id", Message: "a client's id must be a letter or digit followed by up to 63 letters, digits, - or _",
	})
}

func notFound(id string) *api.Problem {
	if len(id) > 80 {
		id = id[:80] + "…"
	}
	return &api.Problem{Status: http.StatusNotFound, Code: api.CodeClientNotFound, Detail: "there is no client " + id}
}
