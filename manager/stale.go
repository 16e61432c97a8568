package manager

import (
	"context"
	"log/slog"
	"slices"
	"strings"
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

// remedyPortHeld mends what rathole v0.5.0 does after a long cut of the network under UDP players: the service's old channel
// waits to write to a connection that is cut off, keeps the port meanwhile, and the new channel waits for the port, until the
// kernel gives the connection up or tries it again, minutes later.
func remedyPortHeld() service.Remedy {
	return service.Remedy{Reason: api.RestartPortHeld, Every: 20 * time.Second, Hourly: 30}
}

// stale gives servers a new process that have lost their client and accept players all the same: they serve nobody, so it
// drops nobody, and players are refused at once where they would wait. And those whose UDP port is held by what is left of a
// client that was lost.
type stale struct {
	restart func(ctx context.Context, id, reason, message string) error
	healing *service.Healing
	log     *slog.Logger
	// holds tells whether an instance's own process has all of its public UDP ports.
	holds func(ctx context.Context, id string) bool
	held  chan string // ids of instances a service of which finds its port taken

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

// holdsUDP tells whether an instance has public UDP ports, and its own process has each of them.
func (w *watcher) holdsUDP(ctx context.Context, id string) bool {
	v, err := w.sup.Get(id)
	if err != nil || v.Phase != supervisor.PhaseRunning {
		return false
	}
	k, err := w.ask(ctx, []view{v}, nobodyConnected)
	if err != nil {
		return false
	}
	ours, found := w.owners.Of(v.Process.PID, v.Record.UnixUID), false
	for port, service := range v.Record.Spec.sockets() {
		if service == "" || port.protocol != api.UDP {
			continue
		}
		if !slices.ContainsFunc(k.on(port), ours.Has) {
			return false
		}
		found = true
	}
	return found
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
		case id := <-s.held:
			if s.holds(ctx, id) { // and no other program has it
				s.mend(ctx, &wg, id, remedyPortHeld(),
					"its client is back, and what is left of the lost one keeps a public UDP port: the server gets a new process")
			}
			continue
		case <-ctx.Done():
			return
		}
		for _, id := range s.due(time.Now()) {
			s.mend(ctx, &wg, id, remedyStaleListener(),
				"its client is gone, and its public TCP ports still accept players: the server gets a new process, which refuses them")
		}
	}
}

// mend gives a server a new process.
func (s *stale) mend(ctx context.Context, wg *sync.WaitGroup, id string, why service.Remedy, message string) {
	if !s.healing.Begin(id, why, message) {
		return
	}
	s.forget(id)
	wg.Go(func() {
		if err := s.restart(ctx, id, why.Reason, message); err != nil {
			s.log.Error("restart a server", "id", id, "error", err)
		}
	})
}

// found takes note that a service of an instance finds its port taken.
func (s *stale) found(id, engineService string) {
	if !strings.HasSuffix(engineService, "_"+string(api.UDP)) {
		return // the old channel of a TCP service lets go at once
	}
	select {
	case s.held <- id:
	default: // it will be found so again
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
