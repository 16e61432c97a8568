package provider

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// agent is one agent with a circuit breaker for refreshes: a dead host costs a run its patience once, not once per
// resource. Changes do not ask the breaker; they have timeouts of their own.
type agent struct {
	*client.Agent
	patience time.Duration

	mu      sync.Mutex
	broken  error
	readyAt time.Time // when it last said that it was ready
}

// readyFor is for how long an agent that was ready is taken to be: of a hundred new instances on one host, each would ask.
const readyFor = time.Second

// wasReady tells whether the agent takes changes, or did a moment ago. That will do where nothing is lost if it does not.
func (a *agent) wasReady(ctx context.Context) error {
	a.mu.Lock()
	known := time.Since(a.readyAt) < readyFor
	a.mu.Unlock()
	if known {
		return nil
	}
	asked := time.Now()
	err := a.Ready(ctx)
	if err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.readyAt = asked
	}
	return err
}

// read reads a client for a refresh. Once the agent failed to answer, every later read of the run fails at once.
func (a *agent) read(ctx context.Context, id string) (api.Client, error) {
	if err := a.failure(); err != nil {
		return api.Client{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, a.patience, fmt.Errorf("no answer within %s", a.patience))
	defer cancel()
	c, err := a.Refresh(ctx, id)
	if err != nil && !client.IsNotFound(err) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.broken = err
	}
	return c, err
}

func (a *agent) failure() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.broken
}
