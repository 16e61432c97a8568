package service

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// collectTimeout bounds the look at units that nobody has looked at yet.
const collectTimeout = 5 * time.Second

// The states of rathole_engines.
const (
	engineRunning  = "running"
	engineStopped  = "stopped" // by a signal or a debugger
	engineStarting = "starting"
	engineFailed   = "failed"
	engineDisabled = "disabled"
)

// UnitMetricsConfig is what a UnitMetrics works with.
type UnitMetricsConfig[S any] struct {
	// Name is what a unit is called in the names of metrics, rathole_manager_instance; Unit the same for people.
	Name, Unit string
	// Component is the value of the label component, manager or agent, where a metric's name is the same on both.
	Component string
	// RTT names a unit's round-trip time, to stand behind Name; RTTHelp says whose it is.
	RTT, RTTHelp string
	// Statuses are all that a unit may have.
	Statuses []api.Status
	// Conditions are shown for each unit, under the names that stand behind Name, beside ProcessRunning.
	Conditions map[string]string
	// List are the units that are here to stay, Observer who has looked at them.
	List     func() []supervisor.View[S]
	Observer *Observer[S]
	// Ready tells whether List is complete.
	Ready func() bool
	// Omit leaves out the series of single units.
	Omit bool
}

// UnitMetrics shows a service's units when its metrics are read: how many are in which status, and each of them. They are as
// the observer last saw them, so that reading costs no look.
type UnitMetrics[S any] struct {
	cfg        UnitMetricsConfig[S]
	units      *prometheus.Desc
	engines    *prometheus.Desc
	status     *prometheus.Desc
	restarts   *prometheus.Desc
	rtt        *prometheus.Desc
	conditions map[string]*prometheus.Desc
}

// NewUnitMetrics returns the metrics of a service's units.
func NewUnitMetrics[S any](cfg UnitMetricsConfig[S]) *UnitMetrics[S] {
	const id = "server_id"
	m := &UnitMetrics[S]{
		cfg:   cfg,
		units: metric(cfg.Name+"s", "Number of "+cfg.Unit+"s, by status.", "status"),
		engines: prometheus.NewDesc("rathole_engines", "Engines of this service by state: running, stopped (by a signal), starting, failed, disabled.",
			[]string{"state"}, prometheus.Labels{"component": cfg.Component}),
		status: metric(cfg.Name+"_status", "1 for the status that the "+cfg.Unit+" has; there is no series for another one.",
			id, "status"),
		restarts: metric(cfg.Name+"_restarts_total", "Processes of the "+cfg.Unit+" that took the place of another one since the start of the service.", id),
		rtt:      metric(cfg.Name+"_"+cfg.RTT, cfg.RTTHelp, id),
		conditions: map[string]*prometheus.Desc{
			api.ProcessRunning: metric(cfg.Name+"_process_running", "Condition "+api.ProcessRunning+" of the "+cfg.Unit+": 1 or 0.", id),
		},
	}
	for kind, name := range cfg.Conditions {
		m.conditions[kind] = metric(cfg.Name+"_"+name, "Condition "+kind+" of the "+cfg.Unit+": 1 or 0, absent while it is not known.", id)
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *UnitMetrics[S]) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.units
	ch <- m.engines
	ch <- m.status
	ch <- m.restarts
	ch <- m.rtt
	for _, d := range m.conditions {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *UnitMetrics[S]) Collect(ch chan<- prometheus.Metric) {
	if !m.cfg.Ready() {
		return // a number of those that are loaded so far would be a lie
	}
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	views := m.cfg.List()
	seen, err := m.cfg.Observer.Seen(ctx, views...)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(m.units, err)
		return
	}
	units := map[string]int{}
	for _, s := range m.cfg.Statuses {
		units[string(s)] = 0
	}
	engines := map[string]int{engineRunning: 0, engineStopped: 0, engineStarting: 0, engineFailed: 0, engineDisabled: 0}
	for i, v := range views {
		units[string(seen[i].Status)]++
		engines[engineState(v, seen[i])]++
		if !m.cfg.Omit {
			m.unit(ch, v, seen[i])
		}
	}
	for status, n := range units {
		ch <- prometheus.MustNewConstMetric(m.units, prometheus.GaugeValue, float64(n), status)
	}
	for state, n := range engines {
		ch <- prometheus.MustNewConstMetric(m.engines, prometheus.GaugeValue, float64(n), state)
	}
}

func (m *UnitMetrics[S]) unit(ch chan<- prometheus.Metric, v supervisor.View[S], seen Observed) {
	id := v.Record.ID
	ch <- prometheus.MustNewConstMetric(m.status, prometheus.GaugeValue, 1, id, string(seen.Status))
	ch <- prometheus.MustNewConstMetric(m.restarts, prometheus.CounterValue, float64(v.Restarts), id)
	if seen.RTT > 0 {
		ch <- prometheus.MustNewConstMetric(m.rtt, prometheus.GaugeValue, seen.RTT.Seconds(), id)
	}
	for _, c := range seen.Conditions {
		if desc := m.conditions[c.Type]; desc != nil && c.Status != api.Unknown {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, truth(c.Status == api.True), id)
		}
	}
}

func engineState[S any](v supervisor.View[S], seen Observed) string {
	if v.Record.Desired == supervisor.Stopped {
		return engineDisabled
	}
	for _, c := range seen.Conditions {
		switch {
		case c.Type != api.ProcessRunning:
		case c.Reason == engineStopped:
			return engineStopped
		case c.Status == api.True:
			return engineRunning
		case v.Failure == nil:
			return engineStarting
		}
	}
	return engineFailed
}
