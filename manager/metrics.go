package manager

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// collector computes the manager's metrics when they are read: none of them is state of its own.
type collector struct{ m *Manager }

func instancesDesc() *prometheus.Desc {
	return prometheus.NewDesc("rathole_manager_instances", "Instances by status.", []string{"status"}, nil)
}

func portsDesc() *prometheus.Desc {
	return prometheus.NewDesc("rathole_manager_ports", "Ports by kind (control, public) and state (allocated, free).", []string{"kind", "state"}, nil)
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- instancesDesc()
	ch <- portsDesc()
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	list, err := c.m.list(context.Background(), "", "", "", 0)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(instancesDesc(), err)
		return
	}
	n := map[api.Status]int{
		api.StatusInactive: 0, api.StatusHealthy: 0, api.StatusDegraded: 0, api.StatusDown: 0, api.StatusDisabled: 0,
	}
	for _, i := range list.Instances {
		n[i.Status]++
	}
	for status, count := range n {
		ch <- prometheus.MustNewConstMetric(instancesDesc(), prometheus.GaugeValue, float64(count), string(status))
	}
	p := c.m.ports.describe()
	for kind, pool := range map[string]api.PortPool{"control": p.Control, "public": p.Public} {
		ch <- prometheus.MustNewConstMetric(portsDesc(), prometheus.GaugeValue, float64(pool.Allocated), kind, "allocated")
		ch <- prometheus.MustNewConstMetric(portsDesc(), prometheus.GaugeValue, float64(pool.Free), kind, "free")
	}
}
