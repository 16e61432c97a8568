package manager_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
)

// BenchmarkScrape measures what reading the metrics of many instances costs, in time and in processor time (both sides of
// the connection), beside a list of them all, which looks at the kernel's sockets.
func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > testkit.Engines(b) {
				b.Skip("the engines would share one user's inotify instances")
			}
			m := testkit.StartManager(b, nil)
			var wg sync.WaitGroup
			for worker := range 10 {
				wg.Go(func() {
					for i := worker; i < n; i += 10 {
						_, _, err := m.Create(b.Context(), api.CreateInstance{ServerID: fmt.Sprint("srv-", i), InstanceSpec: api.InstanceSpec{
							Services: map[string]api.ServiceSpec{"game": {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: 7777}},
						}}, client.CreateOptions{})
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			var size int
			scrape := func() { size = len(testkit.Curl(b, "GET", m.URL+api.PathMetrics, "", auth).Body) }
			list := func() { testkit.Curl(b, "GET", m.URL+api.PathInstances, "", auth) }
			scrape()
			var scraping, listing time.Duration
			for b.Loop() {
				begin := processorTime(b)
				scrape()
				between := processorTime(b)
				list()
				scraping, listing = scraping+between-begin, listing+processorTime(b)-between
			}
			b.ReportMetric(float64(scraping.Microseconds())/1000/float64(b.N), "scrape-cpu-ms")
			b.ReportMetric(float64(listing.Microseconds())/1000/float64(b.N), "list-cpu-ms")
			b.ReportMetric(float64(size)/1024, "scrape-KiB")
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
