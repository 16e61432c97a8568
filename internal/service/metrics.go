package service

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/limits"
)

// Metrics are what both services count as it happens. What can be read off when metrics are asked for is in [Standing] and
// [UnitMetrics].
type Metrics struct {
	events, restarts *prometheus.CounterVec
	reconcile        prometheus.Histogram
	looks            *prometheus.HistogramVec
}

// NewMetrics returns counters that stand at 0: a series that appears with its first event hides it from increase().
func NewMetrics() *Metrics {
	m := &Metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rathole_events_total", Help: "Events since the start of the service, by type.",
		}, []string{"type"}),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rathole_engine_restarts_total",
			Help: "Engines that ended unasked or were replaced, by reason; each is started anew.",
		}, []string{"reason"}),
		reconcile: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "rathole_reconcile_duration_seconds",
			Help:    "Time of a pass over one engine, the wait until it serves included; most passes find nothing to do.",
			Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 10},
		}),
		looks: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "rathole_observer_look_duration_seconds",
			Help:    "Time of a look at the kernel's sockets, at all engines from time to time or at some where something happens.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1},
		}, []string{"scope"}),
	}
	for _, t := range api.EventTypes() {
		m.events.WithLabelValues(string(t))
	}
	for _, reason := range restartReasons() {
		m.restarts.WithLabelValues(reason)
	}
	for _, scope := range []string{"all", "some"} {
		m.looks.WithLabelValues(scope)
	}
	return m
}

// restartReasons are those that are known beforehand: of a replacement, and of an end.
func restartReasons() []string {
	return append(api.RestartReasons(),
		engine.ReasonExited, engine.ReasonConfigRefused, engine.ReasonControlPortInUse, engine.ReasonInotifyExhausted,
		string(limits.OpenFiles), string(limits.Processes), string(limits.Memory),
	)
}

// Happened counts an event.
func (m *Metrics) Happened(e api.Event) {
	m.events.WithLabelValues(string(e.Type)).Inc()
	if e.Type == api.EventRestarting || e.Type == api.EventExited {
		m.restarts.WithLabelValues(e.Reason).Inc()
	}
}

// Reconciled is a supervisor's Reconciled.
func (m *Metrics) Reconciled(took time.Duration) { m.reconcile.Observe(took.Seconds()) }

// Looked is an observer's Looked.
func (m *Metrics) Looked(all bool, took time.Duration) {
	scope := "some"
	if all {
		scope = "all"
	}
	m.looks.WithLabelValues(scope).Observe(took.Seconds())
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.events, m.restarts, m.reconcile, m.looks}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(ch)
	}
}
