package events

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sort"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// Filter chooses events; its zero value chooses all. A gap is never filtered out.
type Filter struct {
	ServerID string
	Types    []api.EventType
}

func (f Filter) matches(e api.Event) bool {
	return (f.ServerID == "" || f.ServerID == e.ServerID) && (len(f.Types) == 0 || slices.Contains(f.Types, e.Type))
}

// followStep is how many events a follower takes at a time, so that it never holds up an Append for long.
const followStep = 256

// Since returns the events after an id, oldest first, limit at most (0: all), and the id from which to go on. If events
// between that id and the first one returned are lost, the first one is an EventGap. after = 0 asks for what there is.
func (j *Journal) Since(after int64, f Filter, limit int) (found []api.Event, next int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.since(after, f, limit, 0)
}

// since examines at most step events beyond those that do not match (0: all).
func (j *Journal) since(after int64, f Filter, limit, step int) (found []api.Event, next int64) {
	next = after
	if after > 0 && after < j.lost {
		found = append(found, gap(j.lost))
		next = j.lost
	}
	n := sort.Search(len(j.ring), func(n int) bool { return j.at(n).ID > after })
	for examined := 0; n < len(j.ring) && (limit == 0 || len(found) < limit) && (step == 0 || examined < step); n++ {
		e := j.at(n)
		next = e.ID
		examined++
		if f.matches(e) {
			found = append(found, e)
		}
	}
	return found, next
}

// Newest returns the newest events that match, oldest first, limit at most, and the id from which to go on.
func (j *Journal) Newest(f Filter, limit int) (found []api.Event, next int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for n := len(j.ring) - 1; n >= 0 && len(found) < limit; n-- {
		if e := j.at(n); f.matches(e) {
			found = append(found, e)
		}
	}
	slices.Reverse(found)
	return found, j.last
}

// At is the id after which the events since a time come.
func (j *Journal) At(since time.Time) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	for n := range len(j.ring) {
		if e := j.at(n); !e.Time.Before(since) {
			return e.ID - 1
		}
	}
	return j.last
}

// Follow yields the events after an id, those that are there and those that come, until ctx ends. A follower reads from
// the journal at its own pace and holds up nobody. It loses nothing as long as what it has not read is among the events
// that are kept; else it is told by an EventGap.
func (j *Journal) Follow(ctx context.Context, after int64, f Filter) iter.Seq[api.Event] {
	return func(yield func(api.Event) bool) {
		for {
			j.mu.Lock()
			found, next := j.since(after, f, 0, followStep)
			changed := j.changed
			more := next < j.last
			j.mu.Unlock()
			after = next
			for _, e := range found {
				if ctx.Err() != nil || !yield(e) {
					return
				}
			}
			if more {
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

func gap(lost int64) api.Event {
	return api.Event{
		ID: lost, Time: time.UnixMicro(lost).UTC(), Type: api.EventGap,
		Message: fmt.Sprintf("events up to id %d are no longer known", lost),
	}
}
