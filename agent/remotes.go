package agent

import (
	"maps"
	"sync"
	"time"
)

// remotes remembers when a client was last seen connected, by the host that it dials.
type remotes struct {
	mu    sync.Mutex
	known map[string]time.Time
}

func (r *remotes) saw(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = map[string]time.Time{}
	}
	r.known[host] = time.Now()
}

// keep forgets all hosts but these, and gives what is known of them.
func (r *remotes) keep(hosts map[string]time.Duration) map[string]time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.known, func(host string, _ time.Time) bool {
		_, here := hosts[host]
		return !here
	})
	return maps.Clone(r.known)
}
