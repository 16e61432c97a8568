package service

import (
	"context"
	"sync"
)

// Keyed is a mutex for each name, so that two requests for one instance wait for each other and for nobody else.
type Keyed struct {
	mu    sync.Mutex
	locks map[string]*counted
}

type counted struct {
	sync.Mutex
	users int // holder and waiters; the entry goes with the last
}

// Lock takes the mutex of name and returns what releases it.
func (k *Keyed) Lock(name string) func() {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*counted{}
	}
	l := k.locks[name]
	if l == nil {
		l = &counted{}
		k.locks[name] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, name)
		}
	}
}

// Await is Lock for a caller who may have left by the time that it is his turn: what he asked for is not done then, for he may
// have asked for it again.
func (k *Keyed) Await(ctx context.Context, name string) (unlock func(), err error) {
	unlock = k.Lock(name)
	if err := ctx.Err(); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}
