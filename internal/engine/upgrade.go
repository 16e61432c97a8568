package engine

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

const (
	// restartWait bounds one restart: 5 s for a process to end by itself, 5 s for the next to be ready, and some for a
	// machine that has other work.
	restartWait = 30 * time.Second
	// healthWait is how long a restarted unit may take to be as well as it was: a client that was cut off dials again within
	// a second or two.
	healthWait = 15 * time.Second
	// It is looked at after healthPoll, and then ever more rarely, up to healthPollMax.
	healthPoll    = 10 * time.Millisecond
	healthPollMax = 200 * time.Millisecond
)

// Fleet is the units of a service, as an upgrade needs them.
type Fleet[S any] struct {
	Supervisor *supervisor.Supervisor[S]
	// Lock keeps requests that change a unit waiting until the function that it returns is called.
	Lock func(id string) (unlock func())
	// Conditions looks at a unit at this moment.
	Conditions func(ctx context.Context, v supervisor.View[S]) ([]api.Condition, error)
}

// Upgrader gives running units another build of the engine: one after the other, in the order of their ids, each proven as
// well as it was before the next. The first that is not goes back to what it ran, and ends the upgrade.
type Upgrader[S any] struct {
	engine *Engine
	fleet  Fleet[S]
	log    *slog.Logger
	orders chan order

	mu   sync.Mutex // guards what follows
	busy bool
	last *api.EngineUpgrade
}

// order is an upgrade that somebody has asked for.
type order struct {
	to rathole.Binary
	by string // the caller's machine, for the events
}

// NewUpgrader returns an Upgrader that does nothing until Run.
func NewUpgrader[S any](e *Engine, f Fleet[S]) *Upgrader[S] {
	return &Upgrader[S]{engine: e, fleet: f, log: e.cfg.Log, orders: make(chan order, 1)}
}

// Run carries out upgrades until ctx ends. One that is under way then ends between two steps: what is upgraded stays so.
func (u *Upgrader[S]) Run(ctx context.Context) {
	u.engine.compare(ctx)
	for {
		select {
		case o := <-u.orders:
			u.roll(httpapi.CalledBy(ctx, o.by), o.to)
		case <-ctx.Done():
			return
		}
	}
}

// Begin looks for the engine anew, where the service is configured to, and orders an upgrade to it. False: there is nothing
// to do, for it is in use and every unit runs it. An upgrade that is under way, or the lack of an engine, is an *api.Problem.
func (u *Upgrader[S]) Begin(ctx context.Context) (begun bool, err error) {
	if !u.claim() {
		return false, &api.Problem{
			Status: http.StatusConflict, Code: api.CodeUpgradeInProgress,
			Detail: "an upgrade of the engine is under way: GET " + api.PathEngine + " shows how far it is",
		}
	}
	defer func() {
		if !begun {
			u.release()
		}
	}()
	found, err := u.engine.Found(ctx)
	if err == nil {
		found, err = u.engine.install(found)
	}
	if err == nil {
		// A child that was forked while the copy was written may hold it open for a moment yet, and nobody can run it before
		// that has passed; asking waits for it.
		found, err = rathole.Find(ctx, found.Path)
	}
	if p := Problem(err); p != nil {
		return false, p
	}
	if err != nil {
		return false, unavailable(err)
	}
	state := &api.EngineUpgrade{
		State: api.UpgradeRunning, To: *build(found), StartedAt: time.Now().UTC(), Upgraded: []string{},
		Remaining: u.behind(ctx, found, nil),
	}
	current, known := u.engine.known()
	if known {
		state.From = build(current)
	}
	begun = len(state.Remaining) > 0 || !known || current.SHA256 != found.SHA256
	if !begun {
		state.State, state.EndedAt = api.UpgradeDone, &state.StartedAt
		u.sweep() // a service that was killed at the very end of an upgrade left this undone
	}
	u.mu.Lock()
	u.last = state
	u.mu.Unlock()
	if begun {
		u.orders <- order{found, httpapi.Caller(ctx)} // never blocks: nobody else has claimed
	}
	return begun, nil
}

func (u *Upgrader[S]) claim() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.busy {
		return false
	}
	u.busy = true
	return true
}

func (u *Upgrader[S]) release() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.busy = false
}

// step is one unit's change of engine.
type step struct {
	before   []api.Condition
	previous rathole.Binary
}

// roll carries one upgrade out.
func (u *Upgrader[S]) roll(ctx context.Context, to rathole.Binary) {
	defer u.release()
	u.log.Info("upgrading the engine", "to", to.Name())
	u.engine.beginRollout()
	steps := map[string]step{}
	failed, err := u.rollAll(ctx, to, steps)
	u.engine.endRollout()
	u.sweep()
	switch {
	case ctx.Err() != nil:
		u.log.Warn("this service ends in the middle of an upgrade of the engine: the next upgrade goes on", "upgraded", len(steps))
		return // nobody is left to be told
	case err != nil:
		failed = &api.UpgradeFailure{Reason: "current_not_written", Message: err.Error()}
	}
	u.finish(failed, u.behind(ctx, to, steps))
	if failed != nil {
		u.log.Error("the upgrade of the engine has failed", "id", failed.ServerID, "reason", failed.Reason, "message", failed.Message,
			"rolled_back", failed.RolledBack, "rollback", failed.Rollback)
		return
	}
	u.log.Info("upgraded the engine", "to", to.Name(), "units", len(steps))
}

// rollAll gives every unit the new build, also those that come while it is at work, and then makes it the current one.
func (u *Upgrader[S]) rollAll(ctx context.Context, to rathole.Binary, steps map[string]step) (*api.UpgradeFailure, error) {
	for {
		for _, id := range u.behind(ctx, to, steps) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			failed := u.fallen(ctx, steps)
			if failed == nil {
				failed = u.move(ctx, id, to, steps)
			}
			if failed != nil {
				return failed, nil
			}
		}
		if failed := u.fallen(ctx, steps); failed != nil {
			return failed, nil
		}
		done, err := u.engine.commit(to, func(chosen map[string]bool) bool { return u.anyBehind(ctx, to, steps, chosen) })
		if done || err != nil {
			return nil, err
		}
		select {
		case <-time.After(healthPoll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// behind lists the running units that run another build than b and have not been given it in this upgrade.
func (u *Upgrader[S]) behind(ctx context.Context, b rathole.Binary, steps map[string]step) []string {
	ids := []string{}
	for _, v := range u.fleet.Supervisor.List() {
		if _, moved := steps[v.Record.ID]; moved || !alive(v) {
			continue
		}
		if has, err := u.engine.runs(ctx, v.Process); err != nil || has.SHA256 != b.SHA256 {
			ids = append(ids, v.Record.ID)
		}
	}
	return ids
}

// anyBehind tells whether a unit runs another build, or is about to because its start has chosen one.
func (u *Upgrader[S]) anyBehind(ctx context.Context, b rathole.Binary, steps map[string]step, chosen map[string]bool) bool {
	starting := func(v supervisor.View[S]) bool { return v.Phase == supervisor.PhasePending && chosen[v.Record.ID] }
	return slices.ContainsFunc(u.fleet.Supervisor.List(), starting) || len(u.behind(ctx, b, steps)) > 0
}

// sweep removes the builds that nothing uses.
func (u *Upgrader[S]) sweep() {
	var programs []string
	for _, v := range u.fleet.Supervisor.List() {
		programs = append(programs, v.Process.Program)
	}
	u.engine.sweep(programs)
}

// alive tells whether a unit has a process. One that has none takes part in no upgrade: whatever keeps it down is not the
// new build's doing, and its next start after the upgrade uses that.
func alive[S any](v supervisor.View[S]) bool {
	return v.Record.Desired == supervisor.Running && v.Process.PID != 0 && v.Process.Exit == nil &&
		(v.Phase == supervisor.PhaseRunning || v.Phase == supervisor.PhaseStarting)
}

// move gives one unit the new build, or back what it ran.
func (u *Upgrader[S]) move(ctx context.Context, id string, to rathole.Binary, steps map[string]step) *api.UpgradeFailure {
	defer u.fleet.Lock(id)()
	v, err := u.fleet.Supervisor.Get(id)
	if err != nil || !alive(v) {
		return nil // removed, disabled or down meanwhile
	}
	before, err := u.fleet.Conditions(ctx, v)
	if err != nil {
		return &api.UpgradeFailure{ServerID: id, Reason: "unknown", Message: "its state cannot be seen: " + err.Error(), RolledBack: true}
	}
	previous, err := u.engine.runs(ctx, v.Process)
	if err != nil {
		u.log.Warn("see which engine it runs", "id", id, "error", err) // it would go back to the current one
	}
	s := step{before: before, previous: previous}
	u.engine.pin(id, to)
	if f := u.renew(ctx, id, before, api.RestartEngineUpgrade, "it gets the engine "+to.Name()); f != nil {
		return u.back(ctx, id, s, f)
	}
	steps[id] = s
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last.Upgraded = append(u.last.Upgraded, id)
	u.last.Remaining = slices.DeleteFunc(u.last.Remaining, func(other string) bool { return other == id })
	return nil
}

// fallen gives back what it ran to a unit that came up with the new build, and has died since: the next one need not suffer
// the same.
func (u *Upgrader[S]) fallen(ctx context.Context, steps map[string]step) *api.UpgradeFailure {
	for id, s := range steps {
		v, err := u.fleet.Supervisor.Get(id)
		if err == nil && v.Phase == supervisor.PhaseBackoff {
			unlock := u.fleet.Lock(id)
			failed := u.back(ctx, id, s, v.Failure)
			unlock()
			return failed
		}
	}
	return nil
}

// back gives a unit back what it ran before.
func (u *Upgrader[S]) back(ctx context.Context, id string, s step, why *supervisor.Failure) *api.UpgradeFailure {
	failed := &api.UpgradeFailure{ServerID: id, Reason: why.Reason, Message: why.Message}
	if ctx.Err() != nil {
		return failed
	}
	u.log.Warn("the new engine does not serve: going back", "id", id, "reason", why.Reason, "message", why.Message)
	u.engine.pin(id, s.previous)
	if f := u.renew(ctx, id, s.before, api.RestartEngineRollback, "it gets back the engine that it had: "+why.Message); f != nil {
		failed.Rollback = f.Message
	}
	failed.RolledBack = failed.Rollback == ""
	return failed
}

// renew restarts a unit for a reason and waits until it is as well as it was before.
func (u *Upgrader[S]) renew(ctx context.Context, id string, before []api.Condition, reason, message string) *supervisor.Failure {
	restart, cancel := context.WithTimeout(ctx, restartWait)
	defer cancel()
	if _, err := u.fleet.Supervisor.RestartFor(restart, id, reason, message); err != nil {
		return asFailure("restart_failed", err)
	}
	deadline := time.Now().Add(healthWait)
	for pause := healthPoll; ; pause = min(pause*5/4, healthPollMax) {
		v, err := u.fleet.Supervisor.Get(id)
		if err != nil {
			return asFailure("restart_failed", err)
		}
		if v.Phase == supervisor.PhaseBackoff {
			return v.Failure
		}
		now, err := u.fleet.Conditions(ctx, v)
		if err != nil {
			return asFailure("restart_failed", err)
		}
		lost := worse(before, now)
		if lost == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return &supervisor.Failure{Reason: lost.Reason, Message: "it runs, but " + healthWait.String() + " later " + lost.Type + " is not what it was: " + lost.Message}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return asFailure("restart_failed", ctx.Err())
		}
	}
}

// worse gives a condition that was true and is not any more; nil if there is none. What listens behind a tunnel is not the
// engine's doing.
func worse(before, now []api.Condition) *api.Condition {
	for _, c := range now {
		was := slices.ContainsFunc(before, func(b api.Condition) bool { return b.Type == c.Type && b.Status == api.True })
		if was && c.Status != api.True && c.Type != api.LocalReachable {
			return &c
		}
	}
	return nil
}

// finish notes the end of an upgrade; behind is who does not run the new build.
func (u *Upgrader[S]) finish(failed *api.UpgradeFailure, behind []string) {
	now := time.Now().UTC()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last.EndedAt = &now
	if failed == nil {
		u.last.State, u.last.Remaining = api.UpgradeDone, []string{}
		return
	}
	is := func(id string) bool { return id == failed.ServerID }
	u.last.State, u.last.Failed = api.UpgradeFailed, failed
	u.last.Upgraded, u.last.Remaining = slices.DeleteFunc(u.last.Upgraded, is), slices.DeleteFunc(behind, is)
}
