package agent

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// collector computes the agent's metrics when they are read: none of them is state of its own.
type collector struct{ a *Agent }

func clientsDesc() *prometheus.Desc {
	return prometheus.NewDesc("rathole_agent_clients", "Clients by status.", []string{"status"}, nil)
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) { ch <- clientsDesc() }

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	clients, err := c.a.show(context.Background(), c.a.list()...)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(clientsDesc(), err)
		return
	}
	n := map[api.Status]int{api.StatusHealthy: 0, api.StatusDegraded: 0, api.StatusDown: 0}
	for _, one := range clients {
		n[one.Status]++
	}
	for status, count := range n {
		ch <- prometheus.MustNewConstMetric(clientsDesc(), prometheus.GaugeValue, float64(count), string(status))
	}
}
