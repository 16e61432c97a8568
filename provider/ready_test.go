package provider

import (
	"slices"
	"testing"
	"time"
)

// TestReadyIsAskedOnceInAWhile creates instances on one agent: that it is ready is asked for once, and again a second later.
func TestReadyIsAskedOnceInAWhile(t *testing.T) {
	t.Parallel()
	schemaTypes() // outside of any bubble
	const ready = "agent GET /ready"
	bubble(t, scenario{}, func(m *matrix) {
		r, asked := m.run(nil), 0
		create := func(id string, port int) {
			m.t.Helper()
			before := len(m.fake.log.since(0))
			_, diags := r.change(m.t.Context(), r.nothing(), simple.with(values{"server_id": text(id), "game_port": number(port)}))
			mustBeSilent(m.t, diags)
			calls := names(m.fake.log.since(before))
			if slices.Contains(calls, ready) {
				asked++
			}
		}
		create("one", 30010)
		create("two", 30011)
		if asked != 1 {
			m.t.Errorf("asked %d times for two instances", asked)
		}
		time.Sleep(readyFor) // in virtual time
		create("three", 30012)
		if asked != 2 {
			m.t.Errorf("asked %d times with one a second later", asked)
		}
	})
}
