package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// A starting process is asked whether it is ready after readyPoll, and then ever more rarely, up to readyPollMax: rathole
// listens after 3 ms, and on a machine where it does not, asking must not be what keeps it busy.
const (
	readyPoll    = 500 * time.Microsecond
	readyPollMax = 20 * time.Millisecond
)

// reconcile makes one unit's process what its record says. It looks at what is, not at what happened, so it may be
// called at any time and any number of times.
func (s *Supervisor[S]) reconcile(ctx context.Context, id string) {
	s.mu.Lock()
	u := s.units[id]
	s.mu.Unlock()
	if u == nil {
		return
	}
	v, _ := u.snapshot()
	switch v.Record.Desired {
	case Absent:
		s.remove(ctx, u, v.Record)
	case Stopped:
		s.halt(ctx, u, v.Record)
	case Running:
		s.run(ctx, u, v)
	}
}

// remove finishes a deletion: process, logs, record, in this order, so that a port is never free while somebody has it.
func (s *Supervisor[S]) remove(ctx context.Context, u *unit[S], rec Record[S]) {
	err := s.cfg.Backend.Stop(ctx, rec.ID)
	if err == nil {
		s.cfg.Crash("remove.stopped")
		if err := s.cfg.Backend.Clean(rec.ID); err != nil { // a log that stays keeps nobody's port
			s.cfg.Log.Warn("remove the logs", "id", rec.ID, "error", err)
		}
		err = s.cfg.Store.Remove(ctx, rec.ID)
	}
	if err != nil {
		s.cfg.Log.Error("remove", "id", rec.ID, "error", err)
		s.retry(ctx, u, rec, EventStopFailed, asFailure("remove_failed", err, rec.UnixUID))
		return
	}
	s.mu.Lock()
	delete(s.units, rec.ID)
	s.changes.Add(1)
	s.mu.Unlock()
	s.cfg.Gone(rec.ID)
	s.tell(ctx, EventRemoved, rec.ID, "", "process, files and record are gone")
	u.change(func(v *View[S]) { v.Phase = PhaseGone })
	s.cfg.Log.Info("removed", "id", rec.ID)
}

func (s *Supervisor[S]) halt(ctx context.Context, u *unit[S], rec Record[S]) {
	p, known := s.cfg.Backend.Process(rec.ID)
	ran := known && p.Exit == nil
	err := s.cfg.Backend.Stop(ctx, rec.ID)
	if err == nil {
		// Should the record be torn one day, this still tells what the unit holds.
		err = s.cfg.Backend.WriteConfig(Unit{ID: rec.ID, Config: rec.Config, UnixUID: rec.UnixUID})
	}
	if err != nil {
		s.cfg.Log.Error("stop", "id", rec.ID, "error", err)
		s.retry(ctx, u, rec, EventStopFailed, asFailure("stop_failed", err, rec.UnixUID))
		return
	}
	if ran {
		s.tell(ctx, EventStopped, rec.ID, "disabled", "process %d was stopped: the record wants none", p.PID)
	}
	u.change(func(v *View[S]) {
		v.Phase, v.Applied, v.Failure, v.Attempts = PhaseStopped, rec.Revision, nil, 0
	})
}

func (s *Supervisor[S]) run(ctx context.Context, u *unit[S], v View[S]) {
	rec := v.Record
	p, known := s.cfg.Backend.Process(rec.ID)
	alive := known && p.Exit == nil
	switch {
	case alive && u.isAsked():
		u.answer()
		if err := s.cfg.Backend.Stop(ctx, rec.ID); err != nil {
			s.retry(ctx, u, rec, EventStopFailed, asFailure("stop_failed", err, rec.UnixUID))
			return
		}
		s.start(ctx, u, rec)
	case alive:
		s.keep(ctx, u, v, p)
	case known && v.Ran == rec.Revision && (v.Phase == PhaseStarting || v.Phase == PhaseRunning):
		s.whyEnded(ctx, u, rec, p)
	case time.Now().Before(v.NextTry) && !u.isAsked():
		s.queue.addAfter(rec.ID, time.Until(v.NextTry))
	default:
		s.start(ctx, u, rec)
	}
}

// keep brings a living process to the newest record: nothing to do, a reload, or a restart.
func (s *Supervisor[S]) keep(ctx context.Context, u *unit[S], v View[S], p Process) {
	rec := v.Record
	had, err := s.cfg.Backend.ReadConfig(rec.ID)
	if f := exhausted(err, rec.UnixUID); f != nil {
		// It says nothing of what the engine has. By the time that it could be replaced for it, a descriptor may be there again,
		// and players would have lost their engine for nothing.
		s.retry(ctx, u, rec, EventStartFailed, f)
		return
	}
	if err != nil {
		s.cfg.Log.Warn("read the config that the engine has", "id", rec.ID, "error", err)
	}
	same := err == nil && had == rec.Config
	switch {
	case same && v.Phase == PhaseRunning && v.Applied == rec.Revision:
		return
	case same && v.Phase == PhaseStarting && !p.Adopted:
		s.await(ctx, u, rec, p)
		return
	case same && (v.Phase == PhaseRunning || s.applied(v, p)):
		// It serves, and served before we came. Whether all is well with it is the status's business: nothing that is only
		// asked of a start may end a process that players use.
		s.serves(u, rec, p)
		return
	}
	took, err := s.cfg.Rules.Reload(ctx, rec, p, had, func() error {
		return s.cfg.Backend.WriteConfig(Unit{ID: rec.ID, Config: rec.Config, UnixUID: rec.UnixUID})
	})
	if err == nil && took {
		s.cfg.Log.Info("reloaded", "id", rec.ID, "revision", rec.Revision)
		s.tell(ctx, EventReloaded, rec.ID, "", "process %d took revision %d", p.PID, rec.Revision)
		s.serves(u, rec, p)
		return
	}
	s.cfg.Log.Info("restarting for a new config", "id", rec.ID, "revision", rec.Revision, "error", err)
	// On a full disk the next process would find no config, and this one serves.
	if err := s.cfg.Backend.WriteConfig(Unit{ID: rec.ID, Config: rec.Config, UnixUID: rec.UnixUID}); err != nil {
		s.retry(ctx, u, rec, EventStartFailed, asFailure("config_not_written", err, rec.UnixUID))
		return
	}
	s.tell(ctx, EventRestarting, rec.ID, ReasonNewConfig, "revision %d needs a new process", rec.Revision)
	if err := s.cfg.Backend.Stop(ctx, rec.ID); err != nil {
		s.retry(ctx, u, rec, EventStopFailed, asFailure("stop_failed", err, rec.UnixUID))
		return
	}
	s.start(ctx, u, rec)
}

func (s *Supervisor[S]) start(ctx context.Context, u *unit[S], rec Record[S]) {
	u.answer()
	program, err := s.cfg.Rules.Program(rec)
	if err == nil {
		err = s.cfg.Rules.Preflight(ctx, rec)
	}
	var p Process
	if err == nil {
		p, err = s.cfg.Backend.Start(ctx, Unit{ID: rec.ID, Program: program, Config: rec.Config, UnixUID: rec.UnixUID})
	}
	if now, known := s.cfg.Backend.Process(rec.ID); errors.Is(err, ErrRunning) && known && now.Exit == nil {
		u.adopted(now) // it could not be taken over when this service started, and now it is
		s.queue.add(rec.ID)
		return
	}
	if err != nil {
		s.retry(ctx, u, rec, EventStartFailed, asFailure("start_failed", err, rec.UnixUID))
		return
	}
	s.cfg.Crash("start.spawned")
	u.mu.Lock()
	u.started++
	restarts := u.started - 1
	u.mu.Unlock()
	u.change(func(v *View[S]) { v.Phase, v.Process, v.Restarts, v.Ran = PhaseStarting, p, restarts, rec.Revision })
	s.cfg.Log.Info("started", "id", rec.ID, "pid", p.PID, "restarts", restarts)
	s.tell(ctx, EventStarted, rec.ID, "", "process %d runs revision %d", p.PID, rec.Revision)
	s.await(ctx, u, rec, p)
}

// await waits until a process is ready, ends, or has had its time.
func (s *Supervisor[S]) await(ctx context.Context, u *unit[S], rec Record[S], p Process) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StartTimeout)
	defer cancel()
	pause := readyPoll
	for {
		if now, known := s.cfg.Backend.Process(rec.ID); !known || now.Exit != nil {
			s.whyEnded(ctx, u, rec, now)
			return
		}
		if v, _ := u.snapshot(); v.Record.Revision != rec.Revision {
			return // new orders, which wait for this worker
		}
		ok, err := s.cfg.Rules.Ready(ctx, rec, p)
		if err == nil && ok {
			s.tell(ctx, EventReady, rec.ID, "", "process %d serves", p.PID)
			s.serves(u, rec, p)
			return
		}
		select {
		case <-time.After(pause):
			pause = min(pause*5/4, readyPollMax)
		case <-ctx.Done():
			s.overdue(context.WithoutCancel(ctx), u, rec, p, err)
			return
		}
	}
}

// overdue gives up on a process that lives and does not become ready: it is stopped, for a silent half-start is what the
// status must never hide.
func (s *Supervisor[S]) overdue(ctx context.Context, u *unit[S], rec Record[S], p Process, cause error) {
	f := s.cfg.Rules.Diagnose(rec, p)
	if f == nil && cause != nil {
		f = exhausted(cause, rec.UnixUID) // it may serve well, and what cannot be had is the look at it
	}
	if f == nil {
		f = &Failure{Reason: "start_timeout", Message: fmt.Sprintf("the engine runs but is not ready after %s", s.cfg.StartTimeout)}
		if cause != nil {
			f.Message += ": " + cause.Error()
		}
	}
	if err := s.cfg.Backend.Stop(ctx, rec.ID); err != nil {
		f.Message += "; and it cannot be stopped: " + err.Error()
	}
	s.retry(ctx, u, rec, EventStartFailed, f)
}

func (s *Supervisor[S]) serves(u *unit[S], rec Record[S], p Process) {
	u.change(func(v *View[S]) {
		v.Phase, v.Applied, v.Ran, v.Process, v.Failure, v.NextTry = PhaseRunning, rec.Revision, rec.Revision, p, nil, time.Time{}
	})
	if err := s.SetHint(context.Background(), rec.ID, hintApplied, digest(rec.Config)); err != nil {
		s.cfg.Log.Warn("note the applied config", "id", rec.ID, "error", err)
	}
}

// hintApplied notes the digest of the config that a process was last seen to run with. A process whose config file was
// replaced, and whose service was killed before it could see whether the process took it, has another one.
const hintApplied = "applied_config"

// applied tells whether an adopted process is known to run with the config that is in its file.
func (s *Supervisor[S]) applied(v View[S], p Process) bool {
	return v.Hints[hintApplied] == digest(v.Record.Config) || p.StartedAt.After(v.Record.UpdatedAt)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func (s *Supervisor[S]) whyEnded(ctx context.Context, u *unit[S], rec Record[S], p Process) {
	f := s.cfg.Rules.Diagnose(rec, p)
	if f == nil {
		f = &Failure{Reason: "exited", Message: "the engine " + p.Exit.String()}
	}
	s.retry(ctx, u, rec, EventExited, f)
}

// retry notes a failure, tells of it, and schedules the next try.
func (s *Supervisor[S]) retry(ctx context.Context, u *unit[S], rec Record[S], kind EventType, f *Failure) {
	s.tellFailure(ctx, u, rec.ID, kind, f)
	var pause time.Duration
	u.change(func(v *View[S]) {
		if v.Phase == PhaseRunning && time.Since(v.Since) >= s.cfg.BackoffReset {
			v.Attempts = 0
		}
		pause = s.pause(v.Attempts)
		v.Attempts++
		if v.Record.Revision > rec.Revision {
			pause = 0 // new orders came meanwhile, and deserve a try at once
		}
		v.Phase, v.Failure, v.NextTry = PhaseBackoff, f, time.Now().Add(pause)
		v.Applied, v.Tried = 0, rec.Revision
		if p, known := s.cfg.Backend.Process(rec.ID); known {
			v.Process = p
		}
	})
	s.cfg.Log.Warn("engine does not run", "id", rec.ID, "reason", f.Reason, "message", f.Message, "next_try", pause.Round(time.Millisecond))
	s.queue.addAfter(rec.ID, pause)
}

// pause is how long to wait after the given number of failures: doubling, capped, with 20 % jitter so that a thousand
// units that failed together do not come back together.
func (s *Supervisor[S]) pause(failures int) time.Duration {
	d := s.cfg.BackoffMin
	for range failures {
		if d *= 2; d >= s.cfg.BackoffMax {
			d = s.cfg.BackoffMax
			break
		}
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

func asFailure(reason string, err error, uid int) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	if f := exhausted(err, uid); f != nil {
		return f
	}
	return &Failure{Reason: reason, Message: err.Error()}
}
