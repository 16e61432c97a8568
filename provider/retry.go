package provider

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

const (
	firstPause = 200 * time.Millisecond
	maxPause   = 2 * time.Second
)

// persist repeats a call while its error may pass and ctx lasts. also tells of further errors that may pass. A service that
// asks to be left alone is, and if that takes longer than ctx lasts, its error is given at once. When the time is over, the
// error is what a service last said, not that the time was over.
func persist(ctx context.Context, do func(context.Context) error, also ...func(error) bool) error {
	var said error
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := do(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			if said != nil && errors.Is(err, ctx.Err()) {
				return said
			}
			return err
		}
		said = err
		if !mayPass(err, also) || !client.Sleep(ctx, max(pause/2+rand.N(pause), client.RetryAfter(err))) {
			return err
		}
	}
}

func mayPass(err error, also []func(error) bool) bool {
	for _, passes := range also {
		if passes(err) {
			return true
		}
	}
	return client.IsTransient(err)
}

// portMoves tells of a port that another instance holds, for a while: that instance may be on its way out, or to another
// port, in this very apply.
func portMoves(wait time.Duration) func(error) bool {
	until := time.Now().Add(wait)
	return func(err error) bool { return heldByInstance(err) && time.Now().Before(until) }
}

// howToSwap goes where somebody may be about to have two instances take over each other's ports: each would wait for the other.
const howToSwap = "Two instances cannot swap ports in one apply, for each waits for the other: give one of them a port that nobody has, apply, " +
	"then give it the port that it shall have, and apply again."

func heldByInstance(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Code == api.CodePortInUse && p.Owner != nil && p.Owner.Kind == api.OwnerInstance
}
