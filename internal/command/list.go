package command

import (
	"context"
	"fmt"
	"slices"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/terminal"
)

// List prints every unit on a line.
type List struct {
	Target
	Output string `short:"o" help:"Form: ${enum}." enum:"table,json,id" default:"table"`
	Status string `help:"Only those of this status: ${enum}." enum:",${statuses}" default:"" placeholder:"STATUS"`
	Prefix string `help:"Only those whose id begins so." placeholder:"TEXT"`
}

// Run prints the list; none is an empty one.
func (c List) Run(ctx context.Context, e *Env) error {
	s, err := e.dial(c.Target)
	if err != nil {
		return err
	}
	found, wire, err := s.list(ctx, c.Prefix, api.Status(c.Status))
	if err != nil {
		return s.explain(ctx, "", err)
	}
	switch c.Output {
	case "json":
		return printJSON(e.Stdout, wire)
	case "id":
		for _, u := range found {
			if _, err := fmt.Fprintln(e.Stdout, u.id); err != nil {
				return err
			}
		}
		return nil
	}
	rows := [][]string{slices.Concat([]string{"ID", "STATUS"}, e.Kind.columns, []string{"REASON", "MESSAGE"})}
	for _, u := range found {
		bad := firstBad(u.conditions)
		rows = append(rows, slices.Concat([]string{u.id, string(u.status)}, u.columns, []string{bad.Reason, bad.Message}))
	}
	return terminal.Table(e.Stdout, rows, 1, statusColour)
}

// firstBad is the first condition that is not as it should be; one that nobody can tell counts last.
func firstBad(conditions []api.Condition) api.Condition {
	for _, bad := range []api.ConditionStatus{api.False, api.Unknown} {
		for _, c := range conditions {
			if c.Status == bad {
				return c
			}
		}
	}
	return api.Condition{}
}

func statusColour(status string) terminal.Colour {
	switch api.Status(status) {
	case api.StatusHealthy:
		return terminal.Green
	case api.StatusDegraded:
		return terminal.Yellow
	case api.StatusDown:
		return terminal.Red
	default: // inactive and disabled are as somebody wants them
		return terminal.Plain
	}
}
