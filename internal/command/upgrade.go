package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/terminal"
)

const (
	// upgradePause is how long to wait between two questions how far an upgrade is: a unit takes some tenths of a second.
	upgradePause = 250 * time.Millisecond
	// upgradeLost is for how long a service may not answer in the middle of an upgrade until it is given up.
	upgradeLost = 30 * time.Second
	// unitsNamed bounds how many units are named where all are counted.
	unitsNamed = 5
)

// Upgrade has the service take up the rathole that its machine has now.
type Upgrade struct {
	Target
	Status bool   `help:"Only show which rathole is in use, which one the machine has, and how far an upgrade is."`
	Output string `short:"o" help:"Form: ${enum}." enum:"text,json" default:"text"`
}

// Run begins an upgrade, or joins the one that is under way, and returns when that is over. One that stopped at a unit is an
// error. An interrupt ends only the watching: the service goes on.
func (c Upgrade) Run(ctx context.Context, e *Env) error {
	s, err := e.dial(c.Target)
	if err != nil {
		return err
	}
	if c.Status {
		now, err := s.Engine(ctx)
		if err != nil {
			return s.explain(ctx, "", err)
		}
		if c.Output == "json" {
			return printJSON(e.Stdout, now)
		}
		return e.printEngine(now)
	}
	now, begun, err := s.UpgradeEngine(ctx)
	if client.HasCode(err, api.CodeUpgradeInProgress) {
		begun = true
		now, err = s.Engine(ctx)
	}
	if err == nil && begun {
		now, err = s.watch(ctx, now)
	}
	if err != nil {
		return s.explain(ctx, "", err)
	}
	if c.Output == "json" {
		if err := printJSON(e.Stdout, now); err != nil {
			return err
		}
	}
	if now.Upgrade.State == api.UpgradeFailed {
		return e.stopped(now.Upgrade)
	}
	if c.Output == "json" {
		return nil
	}
	return e.printDone(now.Upgrade, begun)
}

// watch waits for the end of an upgrade.
func (s *session) watch(ctx context.Context, now api.Engine) (api.Engine, error) {
	if now.Upgrade == nil {
		return now, errors.New("the service knows of no upgrade: it was started anew; the same command goes on with what is left")
	}
	begun, said := now.Upgrade.StartedAt, -1
	for heard := time.Now(); now.Upgrade.State == api.UpgradeRunning; {
		if done := len(now.Upgrade.Upgraded); done > said && terminal.Is(s.env.Stderr) {
			said = done
			_, _ = fmt.Fprintf(s.env.Stderr, "upgrading to %s: %d of %d\n", buildName(now.Upgrade.To), done, done+len(now.Upgrade.Remaining))
		}
		rest(ctx, upgradePause)
		next, err := s.Engine(ctx)
		switch {
		case ctx.Err() != nil:
			return now, errors.New("interrupted; the upgrade goes on: --status shows how far it is")
		case err != nil && (!client.IsTransient(err) || time.Since(heard) > upgradeLost):
			return now, err
		case err != nil:
			continue
		case next.Upgrade == nil || !next.Upgrade.StartedAt.Equal(begun):
			return now, fmt.Errorf("the service was started anew in the middle of the upgrade, with %d of %d done; the same command goes on with what is left",
				len(now.Upgrade.Upgraded), len(now.Upgrade.Upgraded)+len(now.Upgrade.Remaining))
		}
		now, heard = next, time.Now()
	}
	return now, nil
}

func (e *Env) printDone(u *api.EngineUpgrade, begun bool) error {
	text := fmt.Sprintf("every %s runs rathole %s; %s got it now", e.Kind.Unit, buildName(u.To), e.count(len(u.Upgraded)))
	if !begun {
		text = fmt.Sprintf("every %s runs rathole %s already: nothing to do", e.Kind.Unit, buildName(u.To))
	}
	_, err := fmt.Fprintln(e.Stdout, text)
	return err
}

// stopped is the error that tells how an upgrade ended early.
func (e *Env) stopped(u *api.EngineUpgrade) error {
	if u.Failed == nil {
		return errors.New("the upgrade has failed")
	}
	text := "the upgrade has failed"
	if u.Failed.ServerID != "" {
		text = fmt.Sprintf("the upgrade to rathole %s stopped at %s", buildName(u.To), u.Failed.ServerID)
	}
	text += fmt.Sprintf(" (%s): %s", u.Failed.Reason, u.Failed.Message)
	switch {
	case u.Failed.Rollback != "":
		text += "; it cannot go back to the engine that it had: " + u.Failed.Rollback
	case u.Failed.RolledBack:
		text += "; it has its old engine back"
	}
	return errors.New(terminal.Line(fmt.Sprintf("%s (upgraded, and left so: %s; not touched: %s)", text, e.count(len(u.Upgraded)), e.count(len(u.Remaining)))))
}

func (e *Env) count(n int) string {
	if n == 1 {
		return "1 " + e.Kind.Unit
	}
	return fmt.Sprintf("%d %s", n, e.Kind.Units)
}

// printEngine is what --status shows.
func (e *Env) printEngine(now api.Engine) error {
	rows := [][]string{{"ENGINE", "BUILD", "DETAIL"}}
	if now.Current == nil {
		rows = append(rows, []string{"in use", "none", "none has been needed yet"})
	} else {
		rows = append(rows, []string{"in use", buildName(*now.Current), "starts use " + now.Current.Path})
	}
	if now.Found == nil {
		rows = append(rows, []string{"found", "none", now.FoundProblem})
	} else {
		rows = append(rows, []string{"found", buildName(*now.Found), now.Found.Path})
	}
	for _, use := range now.Running {
		named := use.Units[:min(len(use.Units), unitsNamed)]
		detail := e.count(len(use.Units)) + ": " + strings.Join(named, ", ")
		if left := len(use.Units) - len(named); left > 0 {
			detail += fmt.Sprintf(" and %d more", left)
		}
		rows = append(rows, []string{"running", buildName(use.EngineBuild), detail})
	}
	if u := now.Upgrade; u != nil {
		detail := fmt.Sprintf("%s: %s done, %d left", u.State, e.count(len(u.Upgraded)), len(u.Remaining))
		if u.State == api.UpgradeFailed {
			detail = e.stopped(u).Error()
		}
		rows = append(rows, []string{"upgrade", buildName(u.To), detail})
	}
	return terminal.Table(e.Stdout, rows, -1, nil)
}

// buildName is what people call a build, as doctor and the log do.
func buildName(b api.EngineBuild) string {
	name := rathole.Binary{Version: b.Version, SHA256: b.SHA256}.Name()
	if b.Version == "" {
		return "unknown" + name
	}
	return name
}
