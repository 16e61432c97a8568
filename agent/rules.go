package agent

import (
	"context"
	"reflect"

	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

type (
	// record is a client's record, view the supervisor's sight of it.
	record = supervisor.Record[spec]
	view   = supervisor.View[spec]
)

// rules tells the supervisor what a client is.
type rules struct{ engine.Rules[spec] }

var _ supervisor.Rules[spec] = rules{}

// Ready implements supervisor.Rules. A client listens nowhere and never exits for want of a server, so it is ready once it
// has read its config: whether it reaches its server is the status's business.
func (r rules) Ready(ctx context.Context, _ record, p supervisor.Process) (bool, error) {
	return r.Watching(ctx, p), nil
}

// Reload implements supervisor.Rules. Services are reloaded without harm to the others; any other change makes rathole
// restart itself inside, which a new process does better.
func (r rules) Reload(ctx context.Context, rec record, p supervisor.Process, old string, swap func() error) (bool, error) {
	before, err := rathole.ParseClient([]byte(old))
	if err != nil {
		return false, err
	}
	after, err := rathole.ParseClient([]byte(rec.Config))
	if err != nil {
		return false, err
	}
	before.Services, after.Services = nil, nil
	if !reflect.DeepEqual(before, after) {
		return false, nil
	}
	return r.Swap(ctx, p, swap)
}
