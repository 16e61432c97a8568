package bench_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/fakeengine"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/scale"
)

const (
	hosts      = 10
	firstPort  = 20001 // of the games
	terraforms = `terraform {
  required_providers {
    rathole = {
      source = "satishost/rathole"
    }
  }
}

variable "agents" {
  type = list(string)
}

resource "rathole_instance" "bench" {
  count     = %d
  server_id = "srv-${count.index}"
  game_port = %d + count.index
  agent_url = var.agents[count.index %% length(var.agents)]
}
`
)

// BenchmarkTerraform has the real command line make, plan again and destroy BENCH_INSTANCES instances (1,000 if it is not
// set) on one manager and ten agents, beside a provider of the same schema that calls nobody, and beside starting as many
// engines by hand. Engines are the stand-in. Sub-benchmarks are named by terraform's -parallelism, of which 10 is the default.
func BenchmarkTerraform(b *testing.B) {
	n := scale.Of(b, "BENCH_INSTANCES", 1000)
	if !roomFor(b, n) {
		b.Skipf("without root, this machine has no room for %d engines", n)
	}
	for _, parallelism := range []int{10, 50} {
		b.Run(fmt.Sprint("parallelism=", parallelism), func(b *testing.B) {
			w := newWorld(b)
			gamesListen(b, n)
			nothing := &side{cli: testkit.NewCLIOf(b, "./internal/bench/nothing", w.configuration(b, n))}
			ours := &side{cli: testkit.NewCLI(b, w.configuration(b, n), "RATHOLE_MANAGER_URL="+w.manager.URL())}
			var bare, requests []float64
			services := map[string]float64{}
			for range b.N {
				nothing.run(b, "apply", parallelism)
				services["apply"] += w.during(b, func() { ours.run(b, "apply", parallelism) })
				w.manager.are(b, n, api.StatusHealthy)
				engines := w.copy(b)
				nothing.run(b, "plan", parallelism)
				before := w.requests(b)
				ours.run(b, "plan", parallelism)
				requests = append(requests, w.requests(b)-before)
				nothing.run(b, "destroy", parallelism)
				services["destroy"] += w.during(b, func() { ours.run(b, "destroy", parallelism) })
				w.mustBeEmpty(b)
				bare = append(bare, engines.start(b, parallelism).Seconds())
			}
			b.ReportMetric(median(bare), "bare-engines-s")
			b.ReportMetric(median(requests), "refresh-requests")
			for command, cpu := range services {
				b.ReportMetric(cpu/float64(b.N), "services-"+command+"-cpu-s")
			}
			for name, s := range map[string]*side{"ours": ours, "nothing": nothing} {
				for command := range s.took {
					b.ReportMetric(median(s.took[command]), name+"-"+command+"-s")
					b.ReportMetric(median(s.cpu[command]), name+"-"+command+"-cpu-s")
				}
				b.ReportMetric(s.peak, name+"-peak-MiB")
			}
			b.ReportMetric(median(ours.took["apply"])/(median(nothing.took["apply"])+median(bare)), "ratio-apply")
			b.ReportMetric(median(ours.took["plan"])/median(nothing.took["plan"]), "ratio-plan")
			b.ReportMetric(median(ours.took["destroy"])/median(nothing.took["destroy"]), "ratio-destroy")
			b.ReportMetric(ours.peak/nothing.peak, "ratio-memory")
			w.stop(b)
		})
	}
}

// world is a manager and its agents.
type world struct {
	manager *managerProgram
	agents  []*agentProgram
	engine  string
	address string            // of the manager's ports
	state   string            // directory of the manager
	clients map[string]string // directories of the agents, by their URLs
}

func newWorld(b *testing.B) *world {
	b.Helper()
	w := &world{engine: fakeengine.Build(b), address: testkit.Address(b).String(), state: testkit.StateDir(b), clients: map[string]string{}}
	w.manager, _ = startManager(b, w.engine, w.state, w.address, "--stop-on-exit")
	for range hosts {
		state := testkit.StateDir(b)
		a := startAgent(b, w.engine, state, "--stop-on-exit")
		w.agents = append(w.agents, a)
		w.clients[a.URL()] = state
	}
	return w
}

// gamesListen has a game behind each tunnel: both of its sockets, that is.
func gamesListen(b *testing.B, n int) {
	b.Helper()
	for i := range n {
		at := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+i))
		l, err := net.Listen("tcp", at)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = l.Close() })
		p, err := net.ListenPacket("udp", at)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = p.Close() })
	}
}

// configuration is a directory with n instances, spread over the agents.
func (w *world) configuration(b *testing.B, n int) string {
	b.Helper()
	dir := b.TempDir()
	var urls []string
	for _, a := range w.agents {
		urls = append(urls, strconv.Quote(a.URL()))
	}
	for name, text := range map[string]string{
		"main.tf":           fmt.Sprintf(terraforms, n, firstPort),
		"bench.auto.tfvars": fmt.Sprintf("agents = [%s]\n", strings.Join(urls, ", ")),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

// requests is how many the services have answered, but for those that ask just that.
func (w *world) requests(b *testing.B) (n float64) {
	b.Helper()
	urls := []string{w.manager.URL()}
	for _, a := range w.agents {
		urls = append(urls, a.URL())
	}
	for _, url := range urls {
		scraped := (&testkit.Running{URL: url}).Scrape(b)
		for _, m := range scraped.Families["rathole_http_request_duration_seconds"].GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "route" && l.GetValue() != api.PathMetrics {
					n += float64(m.GetHistogram().GetSampleCount())
				}
			}
		}
	}
	return n
}

// during is the processor time, in seconds, that manager and agents need while something is done.
func (w *world) during(b *testing.B, do func()) float64 {
	b.Helper()
	spent := func() time.Duration {
		sum := w.manager.cpu(b)
		for _, a := range w.agents {
			sum += a.cpu(b)
		}
		return sum
	}
	before := spent()
	do()
	return (spent() - before).Seconds()
}

func (w *world) mustBeEmpty(b *testing.B) {
	b.Helper()
	w.manager.are(b, 0, "")
	for _, a := range w.agents {
		if list, err := a.List(b.Context()); err != nil || len(list) != 0 {
			b.Fatal(len(list), err)
		}
	}
}

func (w *world) stop(b *testing.B) {
	b.Helper()
	for _, a := range w.agents {
		a.stop(b)
	}
	w.manager.stop(b)
}
