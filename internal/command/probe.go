package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/terminal"
)

// ManagerCommands are the commands that only a manager's program has.
type ManagerCommands struct {
	Probe  Probe  `cmd:"" help:"Ask an instance's game, through its public ports, whether players reach it."`
	Rotate Rotate `cmd:"" help:"Give an instance new secrets. Its client is shut out until an agent has the new client config; terraform apply hands it over."`
}

// Probe asks a game.
type Probe struct {
	Target
	ID     string `arg:"" name:"id" help:"The id of the ${unit}."`
	Output string `short:"o" help:"Form: ${enum}." enum:"text,json" default:"text"`
}

// prober is a remote that can be asked for a probe.
type prober interface {
	Probe(ctx context.Context, id string) (api.ProbeReport, error)
}

// Run prints what each service said; that players do not reach the game is an *Error of ExitUnmet.
func (c Probe) Run(ctx context.Context, e *Env) error {
	s, err := e.dial(c.Target)
	if err != nil {
		return err
	}
	p, ok := s.remote.(prober)
	if !ok {
		return errors.New("only a manager probes")
	}
	report, err := p.Probe(ctx, c.ID)
	if err != nil {
		return s.explain(ctx, c.ID, err)
	}
	if c.Output == "json" {
		err = printJSON(e.Stdout, report)
	} else {
		err = printProbe(e, report)
	}
	if err == nil && !report.Reachable {
		err = &Error{ExitUnmet, fmt.Errorf("players do not reach %s", report.ServerID)}
	}
	return err
}

func printProbe(e *Env, report api.ProbeReport) error {
	rows := [][]string{{"SERVICE", "PROBE", "RESULT", "TIME", "DETAIL"}}
	for _, name := range slices.Sorted(maps.Keys(report.Services)) {
		r := report.Services[name]
		row := []string{name, string(r.Kind), "ok", strconv.FormatFloat(r.RTTMS, 'f', 1, 64) + " ms", said(r.Game)}
		if !r.OK {
			row = []string{name, string(r.Kind), r.Reason, "", r.Message}
		}
		rows = append(rows, row)
	}
	return terminal.Table(e.Stdout, rows, 2, func(text string) terminal.Colour {
		switch text {
		case "ok":
			return terminal.Green
		case api.ReasonNotProbed:
			return terminal.Yellow
		default:
			return terminal.Red
		}
	})
}

// said is what a game tells of itself, in a few words.
func said(g *api.GameInfo) string {
	if g == nil {
		return ""
	}
	text := g.Name
	for _, more := range []string{g.Game, g.Version, g.Map, g.State} {
		if more != "" {
			text += ", " + more
		}
	}
	if g.Players != nil && g.MaxPlayers != nil {
		text += fmt.Sprintf(", %d of %d players", *g.Players, *g.MaxPlayers)
	}
	return text
}

// Rotate changes an instance's secrets.
type Rotate struct {
	Target
	ID string `arg:"" name:"id" help:"The id of the ${unit}."`
}

type rotator interface {
	Rotate(ctx context.Context, id, ifMatch string) (api.Instance, error)
}

// rotateTimeout bounds the whole, for it is asked once.
const rotateTimeout = time.Minute

// Run rotates, and says what is left to do.
func (c Rotate) Run(ctx context.Context, e *Env) error {
	s, err := e.dial(c.Target)
	if err != nil {
		return err
	}
	r, ok := s.remote.(rotator)
	if !ok {
		return errors.New("only a manager rotates")
	}
	ctx, cancel := context.WithTimeout(ctx, rotateTimeout)
	defer cancel()
	inst, err := r.Rotate(ctx, c.ID, "")
	if err != nil {
		return s.explain(ctx, c.ID, err)
	}
	_, err = fmt.Fprintf(e.Stdout, "%s has new secrets (revision %d); its client needs the new config: run terraform apply, or hand it to the agent\n", inst.ServerID, inst.Revision)
	return err
}
