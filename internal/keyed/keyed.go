// Package keyed has a mutex for each name.
package keyed

import (
	"context"
	"sync"
)

// Mutex is a mutex for each name, so that two works on one instance wait for each other and for nobody else. Its zero value is
// ready for use.
type Mutex struct {
	mu    sync.Mutex
	locks map[string]*counted
}

type counted struct {
	held  chan struct{} // full while somebody has it
	users int           // holder and waiters; the entry goes with the last
}

// Lock takes the mutex of name and returns what releases it.
func (m *Mutex) Lock(name string) (unlock func()) {
	unlock, _ = m.Await(context.Background(), name) // which never ends
	return unlock
}

// Await is Lock for a caller who may leave: what he asked for is not done then, for he may have asked for it again. The error
// is the context's.
func (m *Mutex) Await(ctx context.Context, name string) (unlock func(), err error) {
	m.mu.Lock()
	if m.locks == nil {
		m.locks = map[string]*counted{}
	}
	l := m.locks[name]
	if l == nil {
		l = &counted{held: make(chan struct{}, 1)}
		m.locks[name] = l
	}
	l.users++
	m.mu.Unlock()
	select {
	case l.held <- struct{}{}:
	case <-ctx.Done():
		m.leave(name, l)
		return nil, ctx.Err()
	}
	unlock = func() {
		<-l.held
		m.leave(name, l)
	}
	if err := ctx.Err(); err != nil { // he had left when it was his turn
		unlock()
		return nil, err
	}
	return unlock, nil
}

func (m *Mutex) leave(name string, l *counted) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(m.locks, name)
	}
}
