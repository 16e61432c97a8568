package service

import (
	"fmt"
	"sync"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// Remedy is something that a service does to a unit on its own, because of what it has seen. It has a budget: what does not
// help must not become the trouble.
type Remedy struct {
	Reason string        // why, in one stable word
	Every  time.Duration // at most once in this time, for one unit; the next one waits until then
	Hourly int           // at most so many in an hour, for one unit; then it is only told
}

// Healing keeps the budgets of all units, tells what is done, and remembers it until the unit is well.
type Healing struct {
	Tell func(api.Event)

	mu    sync.Mutex
	units map[string]*treated
}

// treated is what was done to one unit.
type treated struct {
	doses     map[string][]time.Time // within the last hour, oldest first, by reason
	exhausted map[string]bool        // told, by reason
	last      string                 // in words, until the unit is healthy
}

// Begin tells whether a remedy may be used now, and says so in the journal: the caller carries it out at once. message says
// what was seen and what is done about it. Once the budget of an hour is used up, that is told, once.
func (h *Healing) Begin(id string, r Remedy, message string) bool {
	return h.begin(id, r, message, time.Now())
}

func (h *Healing) begin(id string, r Remedy, message string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.units == nil {
		h.units = map[string]*treated{}
	}
	u := h.units[id]
	if u == nil {
		u = &treated{doses: map[string][]time.Time{}, exhausted: map[string]bool{}}
		h.units[id] = u
	}
	doses := u.doses[r.Reason]
	for len(doses) > 0 && now.Sub(doses[0]) >= time.Hour {
		doses = doses[1:]
	}
	u.doses[r.Reason] = doses
	if len(doses) >= r.Hourly {
		if !u.exhausted[r.Reason] {
			u.exhausted[r.Reason] = true
			u.last = fmt.Sprintf("not healed again (%s): that was done %d times within an hour, and a person should look", r.Reason, len(doses))
			h.Tell(api.Event{ServerID: id, Type: api.EventHealingExhausted, Reason: r.Reason, Message: u.last + "; seen now: " + message, By: api.BySupervisor})
		}
		return false
	}
	if len(doses) > 0 && now.Sub(doses[len(doses)-1]) < r.Every {
		return false
	}
	u.doses[r.Reason] = append(doses, now)
	delete(u.exhausted, r.Reason)
	u.last = fmt.Sprintf("healed at %s (%s): %s", now.UTC().Format(time.TimeOnly), r.Reason, message)
	h.Tell(api.Event{ServerID: id, Type: api.EventHealing, Reason: r.Reason, Message: message, By: api.BySupervisor})
	return true
}

// Explain adds what was last done to a unit to the condition that is still amiss. A unit that is healthy again needs no
// such words.
func (h *Healing) Explain(id string, seen *Observed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := h.units[id]
	if u == nil || u.last == "" {
		return
	}
	if seen.Status == api.StatusHealthy {
		u.last = ""
		return
	}
	for i := range seen.Conditions {
		if c := &seen.Conditions[i]; c.Status == api.False {
			c.Message += "; " + u.last
			return
		}
	}
}

// Forget drops what is known of a unit that is gone.
func (h *Healing) Forget(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.units, id)
}
