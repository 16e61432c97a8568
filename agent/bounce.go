package agent

import (
	"context"
	"fmt"
	"slices"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// bounce has a running engine make the channels of one service anew, and leave all other services alone: it reloads a config
// in which a key of that service differs that means nothing. What was pushed, and its digest, stay.
func (a *Agent) bounce(ctx context.Context, id, engineService string) error {
	defer a.byID.Lock(id)()
	v, err := a.sup.Get(id)
	if err != nil {
		return err
	}
	s := v.Record.Spec
	if i := slices.Index(s.Bounced, engineService); i >= 0 {
		s.Bounced = slices.Delete(slices.Clone(s.Bounced), i, i+1)
	} else {
		s.Bounced = append(slices.Clone(s.Bounced), engineService)
	}
	text, err := s.engineConfig()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	_, err = a.sup.Update(ctx, id, v.Record.Revision, supervisor.Draft[spec]{Desired: v.Record.Desired, Config: text, Spec: s})
	return err
}

// engineConfig is what the engine runs with: what was pushed, and in each bounced service the other spelling of "no delay",
// which is the default.
func (s spec) engineConfig() (string, error) {
	if len(s.Bounced) == 0 {
		return s.Pushed, nil
	}
	c, err := rathole.ParseClient([]byte(s.Pushed))
	if err != nil {
		return "", fmt.Errorf("read what was pushed: %w", err)
	}
	for _, name := range s.Bounced {
		svc, ok := c.Services[name]
		if !ok {
			continue
		}
		if svc.Nodelay == nil {
			yes := true
			svc.Nodelay = &yes
		} else {
			svc.Nodelay = nil
		}
		c.Services[name] = svc
	}
	text, err := c.Encode()
	return string(text), err
}

// keepBounced takes over which services are bounced, so that a push leaves alone those that it does not change.
func (s *spec) keepBounced(before spec) {
	for _, name := range before.Bounced {
		if s.Services[name].Protocol == api.UDP {
			s.Bounced = append(s.Bounced, name)
		}
	}
}
