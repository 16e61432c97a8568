package manager

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

func (m *Manager) sharedMetrics() []prometheus.Collector {
	return []prometheus.Collector{m.metrics, service.Standing{
		Guard: m.sup, TakenOver: m.sup.TakenOver, Version: m.cfg.Version, Engine: m.engine.Version,
		Directories: map[string]string{"state": m.cfg.State, "logs": m.cfg.Logs},
	}}
}

func (m *Manager) ownMetrics() []prometheus.Collector {
	own := []prometheus.Collector{portCollector{m.ports}, service.NewUnitMetrics(service.UnitMetricsConfig[spec]{
		Name: "rathole_manager_instance", Unit: "instance", Component: "manager",
		RTT: "client_rtt_seconds", RTTHelp: "Smoothed round-trip time from the manager to the instance's client, by the kernel; absent without a client.",
		Statuses:   []api.Status{api.StatusInactive, api.StatusHealthy, api.StatusDegraded, api.StatusDown, api.StatusDisabled},
		Conditions: map[string]string{api.ClientConnected: "client_connected", api.PortsListening: "ports_listening"},
		List:       m.present, Observer: m.observer, Ready: m.sup.IsReady, Omit: m.cfg.OmitUnitMetrics,
	})}
	if m.cfg.OmitUnitMetrics {
		return own
	}
	return append(own, probeCollector{m.prober})
}

// present are the instances that are here to stay.
func (m *Manager) present() []view {
	return slices.DeleteFunc(slices.Clone(m.sup.List()), func(v view) bool { return v.Record.Desired == supervisor.Absent })
}

// portCollector counts ports when metrics are read.
type portCollector struct{ p *ports }

func portsDesc() *prometheus.Desc {
	return prometheus.NewDesc("rathole_manager_ports", "Ports that may be allocated, by kind (control, public) and range.", []string{"kind", "range"}, nil)
}

func allocatedDesc() *prometheus.Desc {
	return prometheus.NewDesc("rathole_manager_ports_allocated", "Ports that instances have, by kind (control, public) and range; one that carries TCP and UDP counts once.",
		[]string{"kind", "range"}, nil)
}

// Describe implements prometheus.Collector.
func (portCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- portsDesc()
	ch <- allocatedDesc()
}

// Collect implements prometheus.Collector.
func (c portCollector) Collect(ch chan<- prometheus.Metric) {
	all, allocated := portsDesc(), allocatedDesc()
	for _, u := range c.p.usages() {
		ch <- prometheus.MustNewConstMetric(all, prometheus.GaugeValue, float64(count([]api.PortRange{u.ports})), u.kind, show(u.ports))
		ch <- prometheus.MustNewConstMetric(allocated, prometheus.GaugeValue, float64(u.allocated), u.kind, show(u.ports))
	}
}
