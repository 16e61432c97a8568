package client

import (
	"context"
	"sync"
	"time"
)

// A refresh reads each instance for itself, a thousand within seconds. The first few in a row, without a pause of
// readsFresh, are read one by one; from then on a list of all answers them, which may be readsFresh old: a refresh of many
// takes longer than that in any case, and a change of our own drops the list. So a refresh of a few never lists thousands,
// and a refresh of thousands takes tens of requests, on a slow machine, too. There are many agents, with some of the clients
// each, so that their lists are shorter and their first reads add up.
const (
	fewInstances = 10
	fewClients   = 3
	readsFresh   = 5 * time.Second
)

// reads gives many concurrent readers of single things one list call.
type reads[T any] struct {
	get  func(ctx context.Context, id string) (T, error)
	list func(ctx context.Context) ([]T, error)
	id   func(T) string
	few  int // read one by one

	mu      sync.Mutex
	last    time.Time    // when something was read
	row     int          // reads in a row
	all     map[string]T // the last list
	listed  time.Time    // when it was asked for
	refused time.Time    // when a list failed last
	listing chan struct{}
	changes int // a list that was under way at a change is not kept
}

// newReads makes a reads of the two ways to read and what names a thing.
func newReads[T any](few int, get func(ctx context.Context, id string) (T, error), list func(ctx context.Context) ([]T, error), id func(T) string) *reads[T] {
	return &reads[T]{few: few, get: get, list: list, id: id}
}

// read reads one thing. That there is none is always the service's own answer for that one, never its absence from a list.
func (r *reads[T]) read(ctx context.Context, id string) (T, error) {
	if r.many() {
		if v, ok := r.listedOne(ctx, id); ok {
			return v, nil
		}
	}
	return r.get(ctx, id)
}

// forget drops what was listed, after a change.
func (r *reads[T]) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all, r.listed = nil, time.Time{}
	r.changes++
}

// many counts a read, and tells whether there are so many that a list is cheaper.
func (r *reads[T]) many() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.last) > readsFresh {
		r.row = 0
	}
	r.last = now
	r.row++
	return r.row > r.few
}

// listedOne looks a thing up in a fresh list. One caller asks for it, the others wait; if it fails, each goes its own way, and
// none asks for a list until readsFresh is over: every one of them would wait for a service that cannot list.
func (r *reads[T]) listedOne(ctx context.Context, id string) (T, bool) {
	var none T
	r.mu.Lock()
	for r.listing != nil {
		under := r.listing
		r.mu.Unlock()
		select {
		case <-under:
		case <-ctx.Done():
			return none, false
		}
		r.mu.Lock()
	}
	if time.Since(r.listed) <= readsFresh {
		defer r.mu.Unlock()
		v, ok := r.all[id]
		return v, ok
	}
	if time.Since(r.refused) <= readsFresh {
		r.mu.Unlock()
		return none, false
	}
	done, asked := make(chan struct{}), time.Now()
	r.listing = done
	changes := r.changes
	r.mu.Unlock()

	found, err := r.list(ctx)
	all := make(map[string]T, len(found))
	for _, v := range found {
		all[r.id(v)] = v
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listing = nil
	close(done)
	if err != nil {
		r.refused = time.Now()
		return none, false
	}
	if r.changes == changes {
		r.all, r.listed = all, asked
	}
	v, ok := all[id]
	return v, ok
}
