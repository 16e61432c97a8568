package supervisor

import (
	"sync"
	"time"
)

// queue hands ids to workers: an id waits at most once, and is never with two workers at the same time. An id added while
// a worker has it is handed out again afterwards, so no wake-up is lost.
type queue struct {
	mu      sync.Mutex
	arrived *sync.Cond
	waiting []string
	dirty   map[string]bool // waiting, or to be handed out again
	busy    map[string]bool
	timers  map[string]*time.Timer
	closed  bool
}

func newQueue() *queue {
	q := &queue{dirty: map[string]bool{}, busy: map[string]bool{}, timers: map[string]*time.Timer{}}
	q.arrived = sync.NewCond(&q.mu)
	return q
}

func (q *queue) add(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.dirty[id] {
		return
	}
	q.dirty[id] = true
	if q.busy[id] {
		return
	}
	q.waiting = append(q.waiting, id)
	q.arrived.Signal()
}

// addAfter adds id once d has passed; a second call replaces the first one's time.
func (q *queue) addAfter(id string, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if t := q.timers[id]; t != nil {
		t.Stop()
	}
	q.timers[id] = time.AfterFunc(d, func() {
		q.mu.Lock()
		delete(q.timers, id)
		q.mu.Unlock()
		q.add(id)
	})
}

// next blocks for an id; false once the queue is closed.
func (q *queue) next() (string, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.arrived.Wait()
	}
	if q.closed {
		return "", false
	}
	id := q.waiting[0]
	q.waiting = q.waiting[1:]
	delete(q.dirty, id)
	q.busy[id] = true
	return id, true
}

// done ends a worker's turn with id.
func (q *queue) done(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.busy, id)
	if q.dirty[id] && !q.closed {
		q.waiting = append(q.waiting, id)
		q.arrived.Signal()
	}
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, t := range q.timers {
		t.Stop()
	}
	q.arrived.Broadcast()
}
