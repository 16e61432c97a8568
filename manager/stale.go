package manager

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

const (
	// staleAfter is how long a server without a client may accept players whom nobody serves. rathole closes a public TCP
	// port only when the second or third of them comes.
	staleAfter = 30 * time.Second
	// deadAfter is after how long of silence a client counts as gone for this purpose: a network that comes back sooner may
	// bring its players back.
	deadAfter   = time.Minute
	stalePeriod = time.Second
)

func remedyStaleListener() service.Remedy {
	return service.Remedy{Reason: api.RestartStaleListener, Every: 30 * time.Second, Hourly: 6}
}

// stale gives servers a new process that have lost their client and accept players all the same: they serve nobody, so it
// drops nobody, and players are refused at once where they would wait.
type stale struct {
	restart func(ctx context.Context, id, reason, message string) error
	healing *service.Healing
	log     *slog.Logger

	mu    sync.Mutex
	since map[string]staleSince
}

type staleSince struct {
	pid int
	at  time.Time
}

// note takes what a look has shown of an instance.
func (s *stale) note(v view, k kernelView, ours *sockets.Owned, now time.Time) {
	id := v.Record.ID
	is := v.Phase == supervisor.PhaseRunning && v.Record.Desired == supervisor.Running && v.Hints[hintConnected] != "" &&
		!slices.ContainsFunc(k.channels(v.Record.Spec), func(c sockets.Socket) bool { return c.LastAcked < deadAfter }) &&
		acceptsPlayers(v, k, ours)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch before, was := s.since[id]; {
	case !is:
		delete(s.since, id)
	case !was || before.pid != v.Process.PID:
		s.since[id] = staleSince{v.Process.PID, now}
	}
}

// acceptsPlayers tells whether a public TCP port of the instance is open.
func acceptsPlayers(v view, k kernelView, ours *sockets.Owned) bool {
	for port, service := range v.Record.Spec.sockets() {
		if service != "" && port.protocol == api.TCP && slices.ContainsFunc(k.on(port), ours.Has) {
			return true
		}
	}
	return false
}

// forget drops what is known of an instance that is gone.
func (s *stale) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.since, id)
}

// run restarts such servers until ctx ends.
func (s *stale) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(stalePeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, id := range s.due(time.Now()) {
			const message = "its client is gone, and its public TCP ports still accept players: the server gets a new process, which refuses them"
			if !s.healing.Begin(id, remedyStaleListener(), message) {
				continue
			}
			s.forget(id)
			wg.Go(func() {
				if err := s.restart(ctx, id, remedyStaleListener().Reason, message); err != nil {
					s.log.Error("restart a server", "id", id, "error", err)
				}
			})
		}
	}
}

func (s *stale) due(now time.Time) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, since := range s.since {
		if now.Sub(since.at) >= staleAfter {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
