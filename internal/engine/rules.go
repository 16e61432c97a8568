package engine

import (
	"context"
	"errors"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/rathole"
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
	// Rest reads a config and returns all of it but the services, for comparison.
	Rest func(text string) (any, error)
}

// Program implements supervisor.Rules.
func (r Rules[S]) Program(supervisor.Record[S]) (string, error) {
	b, err := r.Engine.Binary(context.Background())
	if err != nil {
		return "", asFailure(ReasonEngineMissing, err)
	}
	return b.Path, nil
}

// Preflight implements supervisor.Rules: without inotify, rathole exits with code 0 and no word of why.
func (r Rules[S]) Preflight(ctx context.Context, rec supervisor.Record[S]) error {
	if !r.watches(ctx) || rec.UnixUID != 0 {
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
	return explain(p, r.watches(context.Background()), rec.UnixUID)
}

// Watching tells whether a process has come so far that it will not exit for want of inotify.
func (r Rules[S]) Watching(ctx context.Context, p supervisor.Process) bool {
	return !r.watches(ctx) || time.Since(p.StartedAt) > watchGrace || Said(p, rathole.KindWatching)
}

func (r Rules[S]) watches(ctx context.Context) bool {
	b, err := r.Engine.Binary(ctx)
	return err == nil && b.HotReload()
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

// reloadWait is how long a running engine may take to notice a new config; measured: 1-3 ms.
const reloadWait = time.Second

// Reload implements supervisor.Rules. Services are reloaded without harm to the others; any other change makes rathole
// restart itself inside, which a new process does better.
func (r Rules[S]) Reload(ctx context.Context, rec supervisor.Record[S], p supervisor.Process, old string, swap func() error) (bool, error) {
	before, err := r.Rest(old)
	if err != nil {
		return false, err
	}
	after, err := r.Rest(rec.Config)
	if err != nil || !reflect.DeepEqual(before, after) || !r.watches(ctx) {
		return false, err
	}
	if old == rec.Config && reloadedSince(p, rec.UpdatedAt) {
		return true, nil // a service that was killed meanwhile had replaced the file, and the engine took it
	}
	return r.swap(ctx, p, swap)
}

// reloadedSince tells whether an engine's log has a reload after a time.
func reloadedSince(p supervisor.Process, since time.Time) bool {
	lines, err := rathole.TailLog(p.Log, 1000)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(lines, func(text string) bool {
		line := rathole.ParseLine(text)
		return line.Kind == rathole.KindReloadDetected && line.Time.After(since)
	})
}

// swap replaces a running engine's config, and waits until its log says that it took it. False: it has not noticed within
// a second (under load one change in fifty is lost for good).
func (r Rules[S]) swap(ctx context.Context, p supervisor.Process, swap func() error) (bool, error) {
	info, err := os.Stat(p.Log)
	if err != nil {
		return false, err
	}
	offset := info.Size()
	if err := swap(); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, reloadWait)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		lines, next, err := rathole.ReadLog(p.Log, offset, logWindow)
		if err != nil {
			return false, err
		}
		offset = next
		for _, text := range lines {
			switch line := rathole.ParseLine(text); line.Kind {
			case rathole.KindReloadDetected:
				return true, nil
			case rathole.KindConfigInvalid:
				return false, errors.New(line.Text)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false, nil
		}
	}
}
