package command

import (
	"context"
	"fmt"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/terminal"
)

// Show prints all that is known of a unit.
type Show struct {
	Target
	ID     string `arg:"" name:"id" help:"The id of the ${unit}."`
	Output string `short:"o" help:"Form: ${enum}." enum:"text,json" default:"text"`
}

// Run prints the unit.
func (c Show) Run(ctx context.Context, e *Env) error {
	s, err := e.dial(c.Target)
	if err != nil {
		return err
	}
	u, err := s.get(ctx, c.ID)
	if err != nil {
		return s.explain(ctx, c.ID, err)
	}
	if c.Output == "json" {
		return printJSON(e.Stdout, u.wire)
	}
	status := terminal.Paint(e.Stdout, statusColour(string(u.status)), string(u.status))
	if _, err := fmt.Fprintf(e.Stdout, "%s %s is %s\n\n", e.Kind.Unit, u.id, status); err != nil {
		return err
	}
	if err := terminal.Table(e.Stdout, u.details, -1, nil); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(e.Stdout); err != nil {
		return err
	}
	rows := [][]string{{"CONDITION", "STATUS", "FOR", "REASON", "MESSAGE"}}
	for _, cond := range u.conditions {
		rows = append(rows, []string{cond.Type, string(cond.Status), age(time.Since(cond.LastTransition)), cond.Reason, cond.Message})
	}
	return terminal.Table(e.Stdout, rows, 1, conditionColour)
}

func conditionColour(status string) terminal.Colour {
	switch api.ConditionStatus(status) {
	case api.True:
		return terminal.Green
	case api.False:
		return terminal.Red
	default:
		return terminal.Yellow
	}
}

// age is a duration in the two largest units that matter.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	two := func(large, small time.Duration, names string) string {
		return fmt.Sprintf("%d%c%d%c", d/large, names[0], d%large/small, names[1])
	}
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, d/time.Second)) // below 0: two machines' clocks
	case d < time.Hour:
		return two(time.Minute, time.Second, "ms")
	case d < 2*day:
		return two(time.Hour, time.Minute, "hm")
	default:
		return two(day, time.Hour, "dh")
	}
}
