package bench_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/fakeengine"
)

// adoptions bounds how often a large manager is started anew: each time takes seconds.
const adoptions = 10

// BenchmarkManager measures a manager with many instances: what it needs at rest, and how long the next one takes to take
// over what the last one left.
func BenchmarkManager(b *testing.B) {
	sizes := slices.Compact([]int{100, min(1000, instances(b)), instances(b)})
	for _, n := range sizes {
		if !roomFor(b, n) {
			continue
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			engine := testkit.Rathole(b)
			if n > 1000 {
				engine = fakeengine.Build(b)
			}
			state, bind := testkit.StateDir(b), testkit.Address(b).String()
			m, _ := startManager(b, engine, state, bind)
			begin := time.Now()
			m.fill(b, n)
			filled := time.Since(begin)
			m.stop(b)
			var took []time.Duration
			for range min(b.N, adoptions) {
				again, ready := startManager(b, engine, state, bind)
				took = append(took, ready)
				again.stop(b)
			}
			m, _ = startManager(b, engine, state, bind, "--stop-on-exit")
			m.are(b, n, api.StatusInactive)
			b.ReportMetric(float64(filled)/float64(n)/float64(time.Millisecond), "create-ms/instance")
			b.ReportMetric(percentile(took, 0.5), "adopted-p50-ms")
			rest(b, map[string]*program{"": &m.program})
			m.stop(b)
		})
	}
}

// roomFor tells whether this machine lets a test run so many engines. 1,000 is what the kit vouches for; with a user for
// each of them nothing bounds more.
func roomFor(b *testing.B, n int) bool {
	b.Helper()
	room := testkit.Engines(b)
	return n <= room || room == 1000
}
