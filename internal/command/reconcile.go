package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/terminal"
)

// Reconcile shows where records and engines do not fit together.
type Reconcile struct {
	Target
	AcceptStrangers bool   `help:"Stop the engines that have no record."`
	Output          string `short:"o" help:"Form: ${enum}." enum:"text,json" default:"text"`
}

// Run prints what does not fit together; if anything is left of it, that is an *Error of ExitUnmet. An engine that could
// not be stopped is a failure.
func (c Reconcile) Run(ctx context.Context, e *Env) error {
	s, err := e.dial(c.Target)
	if err != nil {
		return err
	}
	ask := s.Reconciliation
	if c.AcceptStrangers {
		ask = s.AcceptStrangers
	}
	r, err := ask(ctx)
	if err != nil {
		return s.explain(ctx, "", err)
	}
	if c.Output == "json" {
		err = printJSON(e.Stdout, r)
	} else {
		err = e.printReconciliation(r)
	}
	switch {
	case err != nil:
		return err
	case len(r.Failed) > 0:
		return fmt.Errorf("%d of %d engines could not be stopped", len(r.Failed), len(r.Failed)+len(r.Stopped))
	case r.Alarm != "":
		return &Error{ExitUnmet, errors.New(r.Alarm)}
	case len(r.Quarantined) > 0:
		return &Error{ExitUnmet, errors.New("some records cannot be read; their engines and ports are left alone: `" + e.Program + " doctor` says how to mend them")}
	default:
		return nil
	}
}

func (e *Env) printReconciliation(r api.Reconciliation) error {
	rows := [][]string{{"ID", "FOUND", "DETAIL"}}
	for _, id := range r.Stopped {
		rows = append(rows, []string{id, "stopped", "it had no record"})
	}
	for _, id := range slices.Sorted(maps.Keys(r.Failed)) {
		rows = append(rows, []string{id, "not stopped", r.Failed[id]})
	}
	for _, s := range r.Strangers {
		if _, tried := r.Failed[s.ServerID]; !tried {
			rows = append(rows, []string{s.ServerID, "no record", fmt.Sprintf("process %d, for %s", s.PID, age(time.Since(s.StartedAt)))})
		}
	}
	for _, q := range r.Quarantined {
		rows = append(rows, []string{q.ServerID, "unreadable record", q.Reason})
	}
	if len(rows) == 1 {
		_, err := fmt.Fprintln(e.Stdout, "Every engine has its record, and every record can be read.")
		return err
	}
	return terminal.Table(e.Stdout, rows, -1, nil)
}
