package agent

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/service"
)

// collectTimeout bounds the look at clients that nobody has looked at yet.
const collectTimeout = 5 * time.Second

func (a *Agent) sharedMetrics() []prometheus.Collector {
	return []prometheus.Collector{a.metrics, service.Standing{
		Guard: a.sup, TakenOver: a.sup.TakenOver, Version: a.cfg.Version, Engine: a.engine.Version,
		Directories: map[string]string{"state": a.cfg.State, "logs": a.cfg.Logs},
	}}
}

func (a *Agent) ownMetrics() []prometheus.Collector {
	return []prometheus.Collector{reachCollector{a.reach}, remoteCollector{a}, service.NewUnitMetrics(service.UnitMetricsConfig[spec]{
		Name: "rathole_agent_client", Unit: "client", Component: "agent",
		RTT: "server_rtt_seconds", RTTHelp: "Smoothed round-trip time from the client to its server's control port, by the kernel; absent while it is not connected.",
		Statuses:   []api.Status{api.StatusHealthy, api.StatusDegraded, api.StatusDown},
		Conditions: map[string]string{api.Connected: "connected", api.LocalReachable: "local_reachable"},
		List:       a.list, Observer: a.observer, Ready: a.sup.IsReady, Omit: a.cfg.OmitUnitMetrics,
	})}
}

func seconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }

// remoteCollector tells how the hosts are reached that clients dial, at their control ports.
type remoteCollector struct{ a *Agent }

func remoteRTTDesc() *prometheus.Desc {
	return prometheus.NewDesc("rathole_agent_control_rtt_seconds", "Smallest smoothed round-trip time of the control channels to a host, by the kernel; absent while none is connected.",
		[]string{"remote"}, nil)
}

func remoteSuccessDesc() *prometheus.Desc {
	return prometheus.NewDesc("rathole_agent_control_last_success_timestamp_seconds", "When a client was last seen connected to a control port of a host, since the start of the service.",
		[]string{"remote"}, nil)
}

// Describe implements prometheus.Collector.
func (remoteCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- remoteRTTDesc()
	ch <- remoteSuccessDesc()
}

// Collect implements prometheus.Collector.
func (c remoteCollector) Collect(ch chan<- prometheus.Metric) {
	rtt, success := remoteRTTDesc(), remoteSuccessDesc()
	if !c.a.sup.IsReady() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	views := c.a.list()
	seen, err := c.a.observer.Seen(ctx, views...)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(rtt, err)
		return
	}
	nearest := nearestOf(views, seen)
	for host, at := range c.a.watcher.keep(nearest) {
		ch <- prometheus.MustNewConstMetric(success, prometheus.GaugeValue, seconds(at), host)
		if nearest[host] > 0 {
			ch <- prometheus.MustNewConstMetric(rtt, prometheus.GaugeValue, nearest[host].Seconds(), host)
		}
	}
}

// nearestOf gives the shortest round trip to each host that clients dial; 0 to one that is not reached now. Such a host is
// remembered all the same: since when it is not is the question.
func nearestOf(views []view, seen []service.Observed) map[string]time.Duration {
	nearest := map[string]time.Duration{}
	for i, v := range views {
		host := v.Record.Spec.remoteHost()
		nearest[host] += 0
		if rtt := seen[i].RTT; rtt > 0 && (nearest[host] == 0 || rtt < nearest[host]) {
			nearest[host] = rtt
		}
	}
	return nearest
}

// reachCollector tells whether the managers' APIs answer.
type reachCollector struct{ r *reach }

func managerUpDesc() *prometheus.Desc {
	return prometheus.NewDesc("rathole_agent_manager_up", "Whether the manager answered this agent's last GET /health (1 or 0).", []string{"manager"}, nil)
}

func managerTookDesc() *prometheus.Desc {
	return prometheus.NewDesc("rathole_agent_manager_round_trip_seconds", "How long the manager's last answer to GET /health took, on a connection of its own; absent until there was one.",
		[]string{"manager"}, nil)
}

func managerSuccessDesc() *prometheus.Desc {
	return prometheus.NewDesc("rathole_agent_manager_last_success_timestamp_seconds", "When the manager last answered GET /health; absent until it did.", []string{"manager"}, nil)
}

// Describe implements prometheus.Collector.
func (reachCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- managerUpDesc()
	ch <- managerTookDesc()
	ch <- managerSuccessDesc()
}

// Collect implements prometheus.Collector.
func (c reachCollector) Collect(ch chan<- prometheus.Metric) {
	up, took, success := managerUpDesc(), managerTookDesc(), managerSuccessDesc()
	for host, m := range c.r.contacts() {
		value := 0.0
		if m.up {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(up, prometheus.GaugeValue, value, host)
		if !m.at.IsZero() {
			ch <- prometheus.MustNewConstMetric(took, prometheus.GaugeValue, m.took.Seconds(), host)
			ch <- prometheus.MustNewConstMetric(success, prometheus.GaugeValue, seconds(m.at), host)
		}
	}
}
