package bench_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/fakeengine"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// samples is how many clients are taken away and brought back.
const samples = 20

// BenchmarkStatus measures a manager and an agent whose tunnels all stand (on the stand-in for the engine: twelve
// connections each, as with the real one): how long a list of all takes, after how long it tells of a client that went or
// came, and what watching them costs while nobody asks.
func BenchmarkStatus(b *testing.B) {
	n := instances(b)
	if !roomFor(b, 2*n) {
		b.Skipf("without root, this machine has no room for %d engines", 2*n)
	}
	engine, bind := fakeengine.Build(b), testkit.Address(b).String()
	m, _ := startManager(b, engine, testkit.StateDir(b), bind, "--stop-on-exit")
	a := startAgent(b, engine, testkit.StateDir(b), "--stop-on-exit")
	m.fill(b, n)
	each(b, n, func(id string) error { return connect(b, m, a, id) })
	m.are(b, n, api.StatusHealthy)

	var lists, lost, back []time.Duration
	for range min(b.N, 100) {
		begin := time.Now()
		if list, err := m.List(b.Context(), "", ""); err != nil || len(list) != n {
			b.Fatal(len(list), err)
		}
		lists = append(lists, time.Since(begin))
	}
	for i := range min(b.N, samples) {
		id := fmt.Sprint("srv-", i)
		begin := time.Now()
		if _, err := a.Stop(b.Context(), id); err != nil {
			b.Fatal(err)
		}
		lost = append(lost, m.shows(b, id, api.StatusDown, begin))
		begin = time.Now()
		if err := connect(b, m, a, id); err != nil {
			b.Fatal(err)
		}
		back = append(back, m.shows(b, id, api.StatusHealthy, begin))
	}
	rest(b, map[string]*program{"": &m.program, "agent-": &a.program})
	b.ReportMetric(percentile(lists, 0.5), "list-p50-ms")
	b.ReportMetric(percentile(lists, 0.99), "list-p99-ms")
	b.ReportMetric(percentile(lost, 1), "client-lost-max-ms")
	b.ReportMetric(percentile(back, 1), "client-back-max-ms")
	a.stop(b)
	m.stop(b)
}

func connect(b *testing.B, m *managerProgram, a *agentProgram, id string) error {
	b.Helper()
	cfg, err := m.ClientConfig(b.Context(), id, "")
	if err != nil {
		return err
	}
	_, err = a.Configure(b.Context(), id, cfg.Config, false)
	return err
}

// shows waits until a list of all instances has one with a status, and tells how long that took.
func (m *managerProgram) shows(b *testing.B, id string, status api.Status, since time.Time) time.Duration {
	b.Helper()
	wait.Eventually(b, 10*time.Second, func() error {
		list, err := m.List(b.Context(), "", "")
		if err != nil {
			return err
		}
		for _, i := range list {
			if i.ServerID == id && i.Status == status {
				return nil
			}
		}
		return fmt.Errorf("%s is not %s", id, status)
	})
	return time.Since(since)
}
