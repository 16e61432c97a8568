package service

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

func TestCountsWhatHappens(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	for _, e := range []api.Event{
		{Type: api.EventExited, Reason: "exited"},
		{Type: api.EventRestarting, Reason: supervisor.ReasonFrozen},
		{Type: api.EventExited, Reason: "exited"},
		{Type: api.EventStartFailed, Reason: "exited"},
		{Type: api.EventReady},
	} {
		m.Happened(e)
	}
	for counter, want := range map[prometheus.Counter]float64{
		m.events.WithLabelValues("exited"): 2, m.events.WithLabelValues("ready"): 1, m.events.WithLabelValues("down"): 0,
		m.restarts.WithLabelValues("exited"): 2, m.restarts.WithLabelValues("frozen"): 1, m.restarts.WithLabelValues("requested"): 0,
	} {
		if got := testutil.ToFloat64(counter); got != want {
			t.Errorf("%s is %v, want %v", counter.Desc(), got, want)
		}
	}
	// A series that begins with its first event hides it from increase().
	before := testutil.CollectAndCount(m, "rathole_engine_restarts_total")
	for _, reason := range api.RestartReasons() {
		m.Happened(api.Event{Type: api.EventRestarting, Reason: reason})
	}
	if n := testutil.CollectAndCount(m, "rathole_engine_restarts_total"); n != before {
		t.Errorf("%d reasons of restarts are counted, %d from the start on", n, before)
	}
	if n := testutil.CollectAndCount(m, "rathole_events_total"); n != len(api.EventTypes()) {
		t.Errorf("%d types of events are counted, there are %d", n, len(api.EventTypes()))
	}
}

// TestUnitMetrics shows units of every kind, and looks only at the one that nobody has looked at.
func TestUnitMetrics(t *testing.T) {
	t.Parallel()
	s, o := newSky(t, "up", "hung", "failed", "starting", "off", "new")
	condition := func(kind string, status api.ConditionStatus, reason string) api.Condition {
		return api.Condition{Type: kind, Status: status, Reason: reason}
	}
	s.show("up", api.StatusHealthy, condition(api.ProcessRunning, api.True, "running"), condition(api.Connected, api.True, ""), condition(api.LocalReachable, api.Unknown, ""))
	s.show("hung", api.StatusDown, condition(api.ProcessRunning, api.False, "stopped"))
	for _, id := range []string{"failed", "starting", "new"} {
		s.show(id, api.StatusDown, condition(api.ProcessRunning, api.False, "pending"), condition(api.Connected, api.False, ""))
	}
	s.show("off", api.StatusDisabled, condition(api.ProcessRunning, api.False, "disabled"))
	s.mu.Lock()
	off, failed, up := s.views["off"], s.views["failed"], s.views["up"]
	off.Record.Desired = supervisor.Stopped
	failed.Failure = &supervisor.Failure{Reason: "exited"}
	up.Restarts = 3
	s.views["off"], s.views["failed"], s.views["up"] = off, failed, up
	seen := s.seen["up"]
	seen.RTT = 20 * time.Millisecond
	s.seen["up"] = seen
	added := s.views["new"]
	delete(s.views, "new")
	s.mu.Unlock()
	o.lookAtAll(t.Context())
	s.mu.Lock()
	s.views["new"] = added
	s.mu.Unlock()
	looks := s.counted()

	ready := true
	cfg := UnitMetricsConfig[struct{}]{
		Name: "rathole_test_unit", Unit: "unit", Component: "test", RTT: "rtt_seconds", RTTHelp: "Round trip.",
		Statuses: []api.Status{api.StatusHealthy, api.StatusDegraded}, Conditions: map[string]string{api.Connected: "connected", api.LocalReachable: "local_reachable"},
		List: o.cfg.List, Observer: o, Ready: func() bool { return ready },
	}
	m := NewUnitMetrics(cfg)
	want := `
# HELP rathole_engines Engines of this service by state: running, stopped (by a signal), starting, failed, disabled.
# TYPE rathole_engines gauge
rathole_engines{component="test",state="disabled"} 1
rathole_engines{component="test",state="failed"} 1
rathole_engines{component="test",state="running"} 1
rathole_engines{component="test",state="starting"} 2
rathole_engines{component="test",state="stopped"} 1
# HELP rathole_test_unit_connected Condition Connected of the unit: 1 or 0, absent while it is not known.
# TYPE rathole_test_unit_connected gauge
rathole_test_unit_connected{server_id="failed"} 0
rathole_test_unit_connected{server_id="new"} 0
rathole_test_unit_connected{server_id="starting"} 0
rathole_test_unit_connected{server_id="up"} 1
# HELP rathole_test_unit_restarts_total Processes of the unit that took the place of another one since the start of the service.
# TYPE rathole_test_unit_restarts_total counter
rathole_test_unit_restarts_total{server_id="failed"} 0
rathole_test_unit_restarts_total{server_id="hung"} 0
rathole_test_unit_restarts_total{server_id="new"} 0
rathole_test_unit_restarts_total{server_id="off"} 0
rathole_test_unit_restarts_total{server_id="starting"} 0
rathole_test_unit_restarts_total{server_id="up"} 3
# HELP rathole_test_unit_rtt_seconds Round trip.
# TYPE rathole_test_unit_rtt_seconds gauge
rathole_test_unit_rtt_seconds{server_id="up"} 0.02
# HELP rathole_test_units Number of units, by status.
# TYPE rathole_test_units gauge
rathole_test_units{status="degraded"} 0
rathole_test_units{status="disabled"} 1
rathole_test_units{status="down"} 4
rathole_test_units{status="healthy"} 1
`
	if err := testutil.CollectAndCompare(m, strings.NewReader(want), "rathole_engines", "rathole_test_units", "rathole_test_unit_connected",
		"rathole_test_unit_local_reachable", "rathole_test_unit_restarts_total", "rathole_test_unit_rtt_seconds"); err != nil {
		t.Error(err)
	}
	if got := s.counted() - looks; got != 1 {
		t.Errorf("reading the metrics took %d looks, want 1, at the new unit", got)
	}
	cfg.Omit = true
	if n := testutil.CollectAndCount(NewUnitMetrics(cfg), "rathole_test_unit_status", "rathole_test_unit_connected"); n != 0 {
		t.Errorf("%d series of single units are left", n)
	}
	ready = false
	if n := testutil.CollectAndCount(m); n != 0 {
		t.Errorf("%d series before the service knows what it has", n)
	}
}
