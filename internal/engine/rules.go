package engine

import (
	"context"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// logWindow is how much of a log is read at once, in bytes: an engine writes a few hundred when it starts or reloads.
const logWindow = 64 << 10

// watchGrace is how long after its start an engine may be without its "watching" line and still count as ready: on a
// full disk it cannot write one. An engine that exits for want of inotify does so within 100 ms.
const watchGrace = 300 * time.Millisecond

// Rules is the part of supervisor.Rules that is the same for servers and clients.
type Rules[S any] struct {
	Engine *Engine
	// Parse reads a config, for comparison: its services by name, and all the rest.
	Parse func(text string) (services map[string]any, rest any, err error)
	// Channels lists the control channels that a unit's process has at this moment.
	Channels func(ctx context.Context, rec supervisor.Record[S], p supervisor.Process) ([]sockets.Socket, error)
	Doubts   *Doubts
}

// Program implements supervisor.Rules.
func (r Rules[S]) Program(rec supervisor.Record[S]) (string, error) {
	b, err := r.Engine.Program(context.Background(), rec.ID)
	if err != nil {
		return "", asFailure(ReasonEngineMissing, err)
	}
	return b.Path, nil
}

// Preflight implements supervisor.Rules: without inotify, rathole exits with code 0 and no word of why.
func (r Rules[S]) Preflight(ctx context.Context, rec supervisor.Record[S]) error {
	if !r.willWatch(ctx, rec.ID) || rec.UnixUID != 0 {
		return nil // a user of its own has a quota of its own, which only that user can ask for
	}
	if err := CheckInotify(); err != nil {
		return asFailure(ReasonInotifyExhausted, err)
	}
	return nil
}

// Diagnose implements supervisor.Rules.
func (r Rules[S]) Diagnose(rec supervisor.Record[S], p supervisor.Process) *supervisor.Failure {
	if p.Exit == nil {
		return nil
	}
	return explain(p, r.willWatch(context.Background(), rec.ID), rec.UnixUID)
}

// Watching tells whether a process has come so far that it will not exit for want of inotify.
func (r Rules[S]) Watching(ctx context.Context, p supervisor.Process) bool {
	return !r.watches(ctx, p) || time.Since(p.StartedAt) > watchGrace || Said(p, rathole.KindWatching)
}

// willWatch tells whether the build of a unit's next start watches its config, or of the last one if that has ended.
func (r Rules[S]) willWatch(ctx context.Context, id string) bool {
	b, err := r.Engine.next(ctx, id)
	return err == nil && b.HotReload()
}

// watches tells whether the build that a process runs watches its config. It need not be the current one.
func (r Rules[S]) watches(ctx context.Context, p supervisor.Process) bool {
	b, err := r.Engine.runs(ctx, p)
	if err == nil && b.Version != "" {
		return b.HotReload()
	}
	return r.willWatch(ctx, p.ID)
}

// Said tells whether a process has logged a line of a kind.
func Said(p supervisor.Process, kind rathole.Kind) bool {
	lines, _, err := rathole.ReadLog(p.Log, p.LogOffset, logWindow)
	if err != nil {
		return false
	}
	for _, line := range lines {
		if rathole.ParseLine(line).Kind == kind {
			return true
		}
	}
	return false
}
