package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/terminal"
)

const (
	// lookTime bounds how long one question of who waits is held.
	lookTime = 20 * time.Second
	// lookPause is how long to wait before a service that holds no questions, or is away, is asked again.
	lookPause = 250 * time.Millisecond
	// lateAnswer is how long the last answer may take on its way.
	lateAnswer = 2 * time.Second
)

// Wait waits for a status.
type Wait struct {
	Target
	ID      string        `arg:"" name:"id" help:"The id of the ${unit}."`
	For     string        `help:"The status to wait for: ${enum}." enum:"${statuses}" default:"healthy"`
	Timeout time.Duration `help:"How long to wait." default:"60s"`
}

// Validate is asked by the command line's parser.
func (c Wait) Validate() error {
	if c.Timeout <= 0 {
		return fmt.Errorf("--timeout must be a time such as 60s, not %s", c.Timeout)
	}
	return nil
}

// Run prints the unit's status once it is the one that was asked for; that it is not in time is an *Error of ExitUnmet. A
// service that goes away meanwhile is waited for; one that is not there at all is not.
func (c Wait) Run(ctx context.Context, e *Env) error {
	s, err := e.dial(c.Target)
	if err != nil {
		return err
	}
	want := api.Status(c.For)
	u, err := s.get(ctx, c.ID)
	if err != nil {
		return s.explain(ctx, c.ID, err)
	}
	deadline := time.Now().Add(c.Timeout)
	limited, cancel := context.WithDeadline(ctx, deadline.Add(lateAnswer))
	defer cancel()
	said, err := "", error(nil)
	for u.status != want {
		if said != state(u) && terminal.Is(e.Stderr) {
			_, _ = fmt.Fprintf(e.Stderr, "waiting: %s is %s\n", u.id, state(u))
			said = state(u)
		}
		left := time.Until(deadline)
		if left <= 0 {
			return c.unmet(u, s.explain(ctx, c.ID, err))
		}
		var now unit
		now, err = s.look(limited, c.ID, want, min(left, lookTime))
		switch {
		case ctx.Err() != nil:
			return errors.New("interrupted")
		case err == nil:
			u = now
		case !client.IsTransient(err):
			return s.explain(ctx, c.ID, err)
		default:
			rest(limited, min(left, lookPause))
		}
	}
	_, err = fmt.Fprintf(e.Stdout, "%s is %s\n", u.id, u.status)
	return err
}

func (c Wait) unmet(u unit, err error) error {
	if err != nil {
		return &Error{ExitUnmet, fmt.Errorf("%s is not known to be %s after %s: %w", u.id, c.For, c.Timeout, err)}
	}
	return &Error{ExitUnmet, fmt.Errorf("%s is not %s after %s: it is %s", u.id, c.For, c.Timeout, state(u))}
}

// rest pauses between two questions.
func rest(ctx context.Context, d time.Duration) {
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}

// state is a unit's status and what is wrong with it.
func state(u unit) string {
	bad := firstBad(u.conditions)
	if bad.Type == "" {
		return string(u.status)
	}
	return fmt.Sprintf("%s, %s (%s): %s", u.status, bad.Type, bad.Reason, terminal.Line(bad.Message))
}
