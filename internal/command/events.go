package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/terminal"
)

// Events prints what happened.
type Events struct {
	Target
	ID     string          `arg:"" name:"id" optional:"" help:"Only of this ${unit}, also if it has been removed."`
	Number int             `short:"n" help:"The newest so many, 1 to 10000." default:"50"`
	Since  time.Time       `help:"Only from this time on, such as 2026-01-31T20:00:00Z." placeholder:"TIME"`
	Type   []api.EventType `help:"Only of these types, such as exited,port_stolen." placeholder:"TYPE"`
	Follow bool            `short:"f" help:"Print what happens, until it is interrupted."`
	Output string          `short:"o" help:"Form: ${enum}; json is one event a line." enum:"text,json" default:"text"`
}

// Validate is asked by the command line's parser.
func (c Events) Validate() error {
	if c.Number < 1 || c.Number > 10000 {
		return fmt.Errorf("-n must be 1 to 10000, not %d", c.Number)
	}
	return nil
}

// Run prints the events, oldest first.
func (c Events) Run(ctx context.Context, e *Env) error {
	s, err := e.dial(c.Target)
	if err != nil {
		return err
	}
	q := client.EventQuery{ServerID: c.ID, Types: c.Type, Since: c.Since, Limit: c.Number}
	found, err := s.Events(ctx, q)
	if err != nil {
		return s.explain(ctx, "", err)
	}
	for _, event := range found.Events {
		if err := c.print(e, event); err != nil {
			return err
		}
	}
	if !c.Follow {
		return nil
	}
	q.After = &found.Next
	return c.follow(ctx, s, q)
}

// follow prints what happens, and goes on after a restart of the service.
func (c Events) follow(ctx context.Context, s *session, q client.EventQuery) error {
	for silent := false; ; {
		var err error
		for event, failed := range s.FollowEvents(ctx, q) {
			if err = failed; err != nil {
				break
			}
			if err := c.print(s.env, event); err != nil {
				return err
			}
			silent, q.After = false, &event.ID
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !client.IsTransient(err):
			return s.explain(ctx, "", err)
		case err != nil && !silent:
			_, _ = fmt.Fprintf(s.env.Stderr, "%s: %v; waiting for it\n", s.env.Program, s.explain(ctx, "", err))
			silent = true
		}
		rest(ctx, followPause)
	}
}

func (c Events) print(e *Env, event api.Event) error {
	if c.Output == "json" {
		return printLine(e.Stdout, event)
	}
	what := string(event.Type)
	if event.Reason != "" {
		what += " (" + event.Reason + ")"
	}
	text := strings.Join(strings.Fields(strings.Join([]string{event.ServerID, what}, " ")), " ")
	if event.Message != "" {
		text += ": " + event.Message
	}
	if event.By != "" && event.By != api.BySupervisor {
		text += ", by " + event.By
	}
	_, err := fmt.Fprintf(e.Stdout, "%s  %s\n", event.Time.Local().Format(time.RFC3339), terminal.Line(text))
	return err
}
