package command

import (
	"context"
	"fmt"
)

// Restart gives a unit a new process.
type Restart struct {
	Target
	ID string `arg:"" name:"id" help:"The id of the ${unit}."`
}

// Run returns once the new engine serves.
func (c Restart) Run(ctx context.Context, e *Env) error {
	s, err := e.dial(c.Target)
	if err != nil {
		return err
	}
	done, err := s.Restart(ctx, c.ID)
	if err != nil {
		return s.explain(ctx, c.ID, err)
	}
	_, err = fmt.Fprintf(e.Stdout, "%s runs as process %d\n", done.ServerID, done.PID)
	return err
}
