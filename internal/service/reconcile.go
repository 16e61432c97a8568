package service

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// Guard is what a supervisor tells, and lets a person decide, where records and processes do not fit together.
type Guard interface {
	// Alarm is nil unless processes run that no record wants.
	Alarm() error
	// Quarantined are the records that cannot be read, and why.
	Quarantined() map[string]error
	// Strangers are the processes that no record wants, sorted.
	Strangers(ctx context.Context) ([]supervisor.Process, error)
	// AcceptStrangers stops them.
	AcceptStrangers(ctx context.Context) (stopped []string, failed map[string]error, err error)
}

// acceptTimeout is how long the stopping of strangers may take; it is finished even if the caller hangs up. One that has
// to be killed takes 5 s, and many are stopped at once.
const acceptTimeout = 45 * time.Second

// ReconcileRoutes adds GET and POST /api/reconcile.
func ReconcileRoutes(a *httpapi.API, g Guard) {
	type out struct{ Body api.Reconciliation }
	httpapi.Handle(a, huma.Operation{
		OperationID: "show-reconcile", Method: http.MethodGet, Path: api.PathReconcile,
		Summary: "Show engines that have no record, and records that cannot be read",
	}, func(ctx context.Context, _ *struct{}) (*out, error) {
		r, err := reconciliation(ctx, g)
		return &out{Body: r}, err
	})

	type in struct {
		Body *api.Reconcile
	}
	httpapi.Handle(a, huma.Operation{
		OperationID: "reconcile", Method: http.MethodPost, Path: api.PathReconcile,
		Summary: "Stop the engines that have no record, if accept_strangers says so; else only show them",
	}, func(ctx context.Context, in *in) (*out, error) {
		if in.Body == nil || !in.Body.AcceptStrangers {
			r, err := reconciliation(ctx, g)
			return &out{Body: r}, err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), acceptTimeout)
		defer cancel()
		stopped, failed, err := g.AcceptStrangers(ctx)
		if err != nil {
			return nil, err
		}
		r, err := reconciliation(ctx, g)
		r.Stopped = append(r.Stopped, stopped...)
		for id, err := range failed {
			r.Failed[id] = err.Error()
		}
		return &out{Body: r}, err
	})
}

func reconciliation(ctx context.Context, g Guard) (api.Reconciliation, error) {
	r := api.Reconciliation{Strangers: []api.Stranger{}, Quarantined: []api.Quarantined{}, Stopped: []string{}, Failed: map[string]string{}}
	found, err := g.Strangers(ctx)
	if err != nil {
		return r, fmt.Errorf("look for engines without a record: %w", err)
	}
	for _, p := range found {
		r.Strangers = append(r.Strangers, api.Stranger{ServerID: p.ID, PID: p.PID, StartedAt: p.StartedAt.UTC()})
	}
	bad := g.Quarantined()
	for _, id := range slices.Sorted(maps.Keys(bad)) {
		r.Quarantined = append(r.Quarantined, api.Quarantined{ServerID: id, Reason: bad[id].Error()})
	}
	if err := g.Alarm(); err != nil {
		r.Alarm = err.Error()
	}
	return r, nil
}
