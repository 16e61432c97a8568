package agent

import (
	"context"

	"github.com/satishost/terraform-provider-rathole/internal/api"
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

func newRules(e *engine.Engine, doubts *engine.Doubts) rules {
	return rules{engine.Rules[spec]{Engine: e, Parse: parse, Channels: channelsOf, Doubts: doubts}}
}

// Ready implements supervisor.Rules. A client listens nowhere and never exits for want of a server, so it is ready once it
// has read its config: whether it reaches its server is the status's business.
func (r rules) Ready(ctx context.Context, _ record, p supervisor.Process) (bool, error) {
	return r.Watching(ctx, p), nil
}

// parse reads a client's config: its services, and all the rest.
func parse(text string) (services map[string]any, rest any, err error) {
	c, err := rathole.ParseClient([]byte(text))
	services, c.Services = engine.Services(c.Services), nil
	if c.Transport.Type == "" {
		c.Transport.Type = string(api.TransportTCP)
	}
	return services, c, err
}
