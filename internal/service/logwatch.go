package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

const (
	// watchPeriod is how often the sizes of the logs are looked at. A log that did not grow costs one stat. Of those that have
	// not grown for livelyFor, one in loneTurns is looked at, and of units that are connected one in quietTurns: what they lose, the
	// kernel tells.
	watchPeriod = time.Second
	loneTurns   = 2
	quietTurns  = 4
	livelyFor   = 10 * time.Second
	// watchWindow is how much of a log is read at a time, in bytes. An engine that writes more in a second says the same
	// again and again.
	watchWindow = 64 << 10
	// quiet is for how long a complaint must not have been heard until it is news again.
	quiet = time.Minute
	// hintPause is how long after a look for the log's sake the next one is due, unless a peer came or went: a client without
	// its server writes each second.
	hintPause = 3 * time.Second
	// clockTick is how much earlier than it happened the kernel may say that a file was written: its clock for that has ticks of
	// up to 10 ms.
	clockTick = 10 * time.Millisecond
	// A service whose control channel was pushed out fightCount times within fightWindow has two clients: one that comes back
	// from a broken network does it once. Measured: each of the two comes back within about a second, so that fightOver
	// without another one is the end.
	fightCount  = 5
	fightWindow = 30 * time.Second
	fightOver   = 8 * time.Second
	// heldWindow: rathole tries a port that is taken again after some 0.5 to 1.5 s. Found so once, it may be on its way from the
	// service's last channel to the next.
	heldWindow = 4 * time.Second
)

// ReasonTwoClients is the reason of ClientConnected while two clients push each other out.
const ReasonTwoClients = "two_clients"

// LogWatch reads what the engines log, for what no socket shows, and takes it for a hint to look at the sockets: an engine
// whose peer comes or goes says so at once, while a look at all units has to be rare where there are thousands.
type LogWatch[S any] struct {
	List func() []supervisor.View[S]
	Tell func(api.Event)
	// Hint has a unit looked at whose status may have changed at some time, unless it was looked at since.
	Hint func(id string, at time.Time)
	// Linked tells whether a unit is connected to its other half; nil: none is.
	Linked func(id string) bool
	// Held is told that a service of a unit has found its port taken twice within heldWindow; nil: nobody is.
	Held func(id, engineService string)
	// Warnings are the kinds of lines that are told, with what they mean.
	Warnings map[rathole.Kind]string
	Log      *slog.Logger

	round int // counts the looks

	mu   sync.Mutex
	logs map[string]*watched
}

// watched is the log of one unit.
type watched struct {
	path     string
	offset   int64
	heard    map[rathole.Kind]time.Time // when each complaint was last heard
	pushed   map[string][]time.Time     // when each service's channel was pushed out, within the window
	held     map[string]time.Time       // when each service has last found its port taken
	fighting bool
	grew     bool      // since the last hint
	turned   bool      // likewise, and a peer came or went
	hinted   time.Time // when the last one was given
	changed  time.Time // until when what it says happened
	grewAt   time.Time // when the log last grew, or was first looked at
}

// Run watches until ctx ends.
func (w *LogWatch[S]) Run(ctx context.Context) {
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	for {
		w.look(time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Fights tells whether two clients push each other out of a unit.
func (w *LogWatch[S]) Fights(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.logs[id]
	return l != nil && l.fighting
}

func (w *LogWatch[S]) look(now time.Time) {
	views := w.List()
	logs := make(map[string]*watched, len(views)) // of the units that are still there
	w.round++
	for i, v := range views {
		id, p := v.Record.ID, v.Process
		if p.Log == "" {
			continue
		}
		l := w.logs[id]
		if l == nil {
			l = &watched{path: p.Log, offset: p.LogOffset, grewAt: now, heard: map[rathole.Kind]time.Time{}, pushed: map[string][]time.Time{}, held: map[string]time.Time{}}
			if p.Adopted {
				l.offset = size(p.Log) // what it said before was for an earlier run of this service
			}
		}
		logs[id] = l
		if turns := w.turns(id, l, now); i%turns != w.round%turns {
			continue
		}
		w.read(id, l, now)
	}
	w.mu.Lock()
	w.logs = logs
	w.mu.Unlock()
}

// turns is in how many looks a log has one turn.
func (w *LogWatch[S]) turns(id string, l *watched, now time.Time) int {
	switch {
	case now.Sub(l.grewAt) < livelyFor:
		return 1
	case w.Linked != nil && w.Linked(id):
		return quietTurns
	default:
		return loneTurns
	}
}

func size(path string) int64 {
	size, _ := written(path)
	return size
}

// written is the size of a log, and when it was last written to; zero if it is not there.
func written(path string) (size int64, at time.Time) {
	var st unix.Stat_t // os.Stat makes garbage, and this is asked for each log again and again
	for {
		err := unix.Stat(path, &st)
		if err == nil {
			return st.Size, time.Unix(st.Mtim.Unix())
		}
		if !errors.Is(err, unix.EINTR) {
			return 0, time.Time{}
		}
	}
}

func (w *LogWatch[S]) read(id string, l *watched, now time.Time) {
	if end, at := written(l.path); end != l.offset {
		l.changed = at.Add(clockTick)
		lines, next, err := rathole.ReadLog(l.path, l.offset, watchWindow)
		if err == nil && len(lines) > 0 && size(l.path)-next > watchWindow {
			_, next, err = rathole.ReadLog(l.path, next, 0)
		}
		if err != nil {
			w.Log.Warn("read the log", "id", id, "error", err)
			return
		}
		l.offset, l.grew, l.grewAt = next, true, now
		for _, text := range lines {
			w.hear(id, l, rathole.ParseLine(text), now)
		}
	}
	w.judge(id, l, now)
	if l.turned || (l.grew && now.Sub(l.hinted) >= hintPause) {
		l.grew, l.turned, l.hinted = false, false, now
		w.Hint(id, l.changed)
	}
}

func (w *LogWatch[S]) hear(id string, l *watched, line rathole.Line, now time.Time) {
	switch line.Kind {
	case rathole.KindPreempted:
		l.pushed[line.Service] = append(l.pushed[line.Service], now)
	case rathole.KindAddrInUse:
		if last, again := l.held[line.Service]; again && now.Sub(last) <= heldWindow && w.Held != nil {
			w.Held(id, line.Service)
		}
		l.held[line.Service] = now
	case rathole.KindControlEstablished, rathole.KindControlShutdown, rathole.KindClientLost, rathole.KindHeartbeatTimeout:
		l.turned = true
	}
	meaning, told := w.Warnings[line.Kind]
	if !told {
		return
	}
	last, before := l.heard[line.Kind]
	l.heard[line.Kind] = now
	if before && now.Sub(last) < quiet {
		return
	}
	if line.Service != "" {
		meaning = fmt.Sprintf("%s (service %s)", meaning, line.Service)
	}
	w.Tell(api.Event{ServerID: id, Type: api.EventEngineWarning, Reason: string(line.Kind), Message: meaning})
}

// judge decides whether two clients fight.
func (w *LogWatch[S]) judge(id string, l *watched, now time.Time) {
	fighting := false
	for service, times := range l.pushed {
		for len(times) > 0 && now.Sub(times[0]) > fightWindow {
			times = times[1:]
		}
		if len(times) == 0 {
			delete(l.pushed, service)
			continue
		}
		l.pushed[service] = times
		fighting = fighting || len(times) >= fightCount && now.Sub(times[len(times)-1]) < fightOver
	}
	if fighting == l.fighting {
		return
	}
	w.mu.Lock()
	l.fighting = fighting
	w.mu.Unlock()
	if fighting {
		w.Tell(api.Event{
			ServerID: id, Type: api.EventTwoClients,
			Message: "two clients with this instance's config push each other out, again and again: stop one of them",
		})
	}
	w.Hint(id, now)
}
