package engine

import (
	"os"

	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// rollout is what starts use while units are given another build one by one. The current build is the old one until all
// have the new one, so that what starts by itself meanwhile, or after a crash of the service, runs what is known to work.
type rollout struct {
	pinned map[string]rathole.Binary // by unit
	// behind holds the units whose start has taken the current build: it may not be seen as a process yet.
	behind map[string]bool
}

func (r *rollout) choose(id string, current rathole.Binary) rathole.Binary {
	if b, ok := r.pinned[id]; ok {
		return b
	}
	r.behind[id] = true
	return current
}

func (e *Engine) beginRollout() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rollout = &rollout{pinned: map[string]rathole.Binary{}, behind: map[string]bool{}}
}

// pin makes a unit start with a build while the rollout lasts; with the current one if that build's file is gone.
func (e *Engine) pin(id string, b rathole.Binary) {
	_, err := os.Stat(b.Path)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		delete(e.rollout.pinned, id)
		return
	}
	e.rollout.pinned[id] = b
}

// commit makes b the current build, unless a unit is behind: anyBehind is asked while no start can choose, and is told which
// units' starts have taken the old one.
func (e *Engine) commit(b rathole.Binary, anyBehind func(chosen map[string]bool) bool) (done bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if anyBehind(e.rollout.behind) {
		return false, nil
	}
	if e.current != nil && e.current.Path == b.Path {
		return true, nil
	}
	if err := e.writeCurrent(b); err != nil {
		return false, err
	}
	e.current = &b
	return true, nil
}

// endRollout makes every start use the current build again.
func (e *Engine) endRollout() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rollout = nil
}
