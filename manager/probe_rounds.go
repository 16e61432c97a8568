package manager

import (
	"context"
	"hash/fnv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// minProbeInterval is the shortest interval of regular probes. Each UDP probe is a player whom rathole's client remembers for a
// minute.
const minProbeInterval = 10 * time.Second

// run probes each running instance once in the interval, each at its own second of it, until ctx ends. It returns when no
// probe is under way. An instance whose last round is not over yet is left out.
func (p *prober) run(ctx context.Context) {
	if p.interval == 0 {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	seconds := uint32(p.interval / time.Second)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for now := uint32(0); ; now = (now + 1) % seconds {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, v := range p.sup.List() {
			if v.Record.Desired != supervisor.Running || secondOf(v.Record.ID, seconds) != now || !p.begin(v.Record.ID) {
				continue
			}
			wg.Go(func() {
				defer p.end(v.Record.ID)
				p.ask(ctx, v)
			})
		}
	}
}

// secondOf spreads instances over an interval, each always at the same place.
func secondOf(id string, seconds uint32) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return h.Sum32() % seconds
}

func (p *prober) begin(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy[id] {
		return false
	}
	p.busy[id] = true
	return true
}

func (p *prober) end(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.busy, id)
}

// probeCollector shows the last probes when metrics are read.
type probeCollector struct{ p *prober }

func probeSuccessDesc() *prometheus.Desc {
	return prometheus.NewDesc("rathole_manager_probe_success", "Whether the game answered the last probe of a service (1 or 0).", []string{"server_id", "service"}, nil)
}

func probeDurationDesc() *prometheus.Desc {
	return prometheus.NewDesc("rathole_manager_probe_duration_seconds", "How long the last probe of a service took, its repetitions included.", []string{"server_id", "service"}, nil)
}

func probeTimeDesc() *prometheus.Desc {
	return prometheus.NewDesc("rathole_manager_probe_timestamp_seconds", "When a service was last probed.", []string{"server_id", "service"}, nil)
}

// Describe implements prometheus.Collector.
func (c probeCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- probeSuccessDesc()
	ch <- probeDurationDesc()
	ch <- probeTimeDesc()
}

// Collect implements prometheus.Collector.
func (c probeCollector) Collect(ch chan<- prometheus.Metric) {
	answered, duration, at := probeSuccessDesc(), probeDurationDesc(), probeTimeDesc()
	for _, v := range c.p.sup.List() {
		last, ok := c.p.latest(v)
		if !ok || v.Record.Desired != supervisor.Running {
			continue
		}
		for name, r := range last.report.Services {
			if r.Reason == api.ReasonNotProbed {
				continue
			}
			success := 0.0
			if r.OK {
				success = 1
			}
			ch <- prometheus.MustNewConstMetric(answered, prometheus.GaugeValue, success, v.Record.ID, name)
			ch <- prometheus.MustNewConstMetric(duration, prometheus.GaugeValue, last.took[name].Seconds(), v.Record.ID, name)
			ch <- prometheus.MustNewConstMetric(at, prometheus.GaugeValue, float64(last.at.UnixMilli())/1000, v.Record.ID, name)
		}
	}
}
