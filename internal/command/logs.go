package command

import (
	"context"
	"fmt"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/terminal"
)

// maxLines is how many lines the services give at most.
const maxLines = 10000

// followPause is how long to wait before a service that hung up is asked again.
const followPause = 400 * time.Millisecond

// Logs prints an engine's own lines.
type Logs struct {
	Target
	ID     string    `arg:"" name:"id" help:"The id of the ${unit}."`
	Lines  int       `short:"n" help:"The newest so many lines, 1 to 10000." default:"100"`
	Since  time.Time `help:"Only lines from this time on, such as 2026-01-31T20:00:00Z." placeholder:"TIME"`
	Follow bool      `short:"f" help:"Print what comes, until it is interrupted."`
}

// Validate is asked by the command line's parser.
func (c Logs) Validate() error {
	if c.Lines < 1 || c.Lines > maxLines {
		return fmt.Errorf("--lines must be 1 to %d, not %d", maxLines, c.Lines)
	}
	return nil
}

// Run prints the lines. An interrupt is how a person ends following: no failure.
func (c Logs) Run(ctx context.Context, e *Env) error {
	s, err := e.dial(c.Target)
	if err != nil {
		return err
	}
	q := client.LogQuery{Lines: c.Lines, Since: c.Since}
	if c.Follow {
		return s.follow(ctx, c.ID, q)
	}
	logs, err := s.Logs(ctx, c.ID, q)
	if err != nil {
		return s.explain(ctx, c.ID, err)
	}
	return e.printLines(logs.Lines...)
}

// follow prints what comes. While the service is restarted or replaced its engines go on, and so does this afterwards.
func (s *session) follow(ctx context.Context, id string, q client.LogQuery) error {
	for silent := false; ; {
		var err error
		for line, failed := range s.FollowLogs(ctx, id, q) {
			if err = failed; err != nil {
				break
			}
			if err := s.env.printLines(line); err != nil {
				return err
			}
			silent = false
			if at := rathole.ParseLine(line).Time; !at.IsZero() {
				q = client.LogQuery{Lines: maxLines, Since: at.Add(1)}
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case client.IsNotFound(err):
			_, _ = fmt.Fprintf(s.env.Stderr, "%s: %s %s has been removed\n", s.env.Program, s.env.Kind.Unit, id)
			return nil
		case err != nil && !client.IsTransient(err):
			return s.explain(ctx, id, err)
		case err != nil && !silent:
			_, _ = fmt.Fprintf(s.env.Stderr, "%s: %v; waiting for it\n", s.env.Program, s.explain(ctx, id, err))
			silent = true
		}
		pause := time.NewTimer(followPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil
		}
	}
}

func (e *Env) printLines(lines ...string) error {
	for _, line := range lines {
		if terminal.Is(e.Stdout) {
			line = terminal.Harmless(line)
		}
		if _, err := fmt.Fprintln(e.Stdout, line); err != nil {
			return err
		}
	}
	return nil
}
