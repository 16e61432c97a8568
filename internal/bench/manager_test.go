package bench_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// program is a manager as a process of its own, so that what it costs is not mixed with the benchmark.
type program struct {
	cmd    *exec.Cmd
	client *client.Manager
}

func build(b *testing.B) string {
	b.Helper()
	binary := filepath.Join(b.TempDir(), "rathole-manager")
	out, err := exec.CommandContext(b.Context(), "go", "build", "-o", binary, "../../manager/rathole-manager").CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// start starts a manager and tells how long it took until it was ready.
func start(b *testing.B, binary, state, bind string, args ...string) (*program, time.Duration) {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		b.Fatal(err)
	}
	p := &program{cmd: exec.Command(binary, append([]string{"--listen", address, "--bind-address", bind, "--state-dir", state}, args...)...)}
	p.cmd.Env = []string{"RATHOLE_TOKEN=" + testkit.Token, "RATHOLE_BINARY=" + testkit.Rathole(b)}
	p.client, err = client.NewManager(client.Config{URL: "http://" + address, Token: secret.New(testkit.Token)})
	if err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.cmd.Process.Kill() })
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			break
		}
		time.Sleep(time.Millisecond)
	}
	wait.Eventually(b, time.Minute, func() error { return p.client.Ready(b.Context()) })
	return p, time.Since(begin)
}

func (p *program) stop(b *testing.B) {
	b.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		b.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		b.Fatal(err)
	}
}

// status reads a number of /proc/<pid>/status.
func (p *program) status(b *testing.B, key string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\n"+key+":")
	n, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// cpu is the processor time that it has used.
func (p *program) cpu(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndex(string(text), ")")+2:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // clock ticks, 100 a second
}

func instance(id string) api.CreateInstance {
	return api.CreateInstance{ServerID: id, InstanceSpec: api.InstanceSpec{Services: map[string]api.ServiceSpec{
		"game": {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: 7777},
	}}}
}

func percentile(of []time.Duration, p float64) float64 {
	slices.Sort(of)
	return float64(of[int(float64(len(of)-1)*p)]) / float64(time.Millisecond)
}

// BenchmarkCreate measures POST /api/instances against what it cannot do without: one durable file and the start of rathole
// until it listens. The two alternate, so that both see the same machine.
func BenchmarkCreate(b *testing.B) {
	state, bind := testkit.StateDir(b), testkit.Address(b)
	m, _ := start(b, build(b), state, bind.String(), "--stop-on-exit")
	bare := newBare(b, testkit.Address(b).String())
	var bareTook, createTook []time.Duration
	for i := 0; b.Loop(); i++ {
		bareTook = append(bareTook, bare.start(b))
		id := fmt.Sprint("srv-", i)
		begin := time.Now()
		if _, _, err := m.client.Create(b.Context(), instance(id), client.CreateOptions{}); err != nil {
			b.Fatal(err)
		}
		createTook = append(createTook, time.Since(begin))
		if err := m.client.Delete(b.Context(), id); err != nil {
			b.Fatal(err)
		}
	}
	for name, p := range map[string]float64{"p50": 0.5, "p99": 0.99} {
		b.ReportMetric(percentile(bareTook, p), "bare-"+name+"-ms")
		b.ReportMetric(percentile(createTook, p), "create-"+name+"-ms")
	}
	b.ReportMetric(percentile(createTook, 0.5)/percentile(bareTook, 0.5), "ratio-p50")
	m.stop(b)
}

// bare starts rathole as anybody would, beside one durable file.
type bare struct{ rathole, dir, address string }

func newBare(b *testing.B, host string) bare {
	b.Helper()
	x := bare{rathole: testkit.Rathole(b), dir: b.TempDir(), address: host + ":10000"}
	config := fmt.Sprintf("[server]\nbind_addr = %q\ndefault_token = \"x\"\n[server.services.game_tcp]\ntype = \"tcp\"\nbind_addr = \"%s:30000\"\n", x.address, host)
	if err := os.MkdirAll(filepath.Join(x.dir, "conf"), 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(x.dir, "conf", "server.toml"), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	return x
}

func (x bare) start(b *testing.B) time.Duration {
	b.Helper()
	begin := time.Now()
	f, err := os.Create(filepath.Join(x.dir, "record.next"))
	if err != nil {
		b.Fatal(err)
	}
	_, err = f.WriteString(strings.Repeat("x", 2000))
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Rename(filepath.Join(x.dir, "record.next"), filepath.Join(x.dir, "record"))
	}
	if err != nil {
		b.Fatal(err)
	}
	dir, err := os.Open(x.dir)
	if err != nil {
		b.Fatal(err)
	}
	if err := dir.Sync(); err != nil {
		b.Fatal(err)
	}
	_ = dir.Close()
	cmd := exec.CommandContext(b.Context(), x.rathole, "-s", filepath.Join(x.dir, "conf", "server.toml"))
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	for {
		conn, err := net.Dial("tcp", x.address)
		if err == nil {
			_ = conn.Close()
			break
		}
		time.Sleep(200 * time.Microsecond)
	}
	took := time.Since(begin)
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	return took
}

// BenchmarkManager measures a manager with many instances: what it needs at rest, and how long the next one takes to take
// over what the last one left.
func BenchmarkManager(b *testing.B) {
	binary := build(b)
	for _, n := range []int{100, 1000} {
		if n > testkit.Engines(b) {
			continue
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			state, bind := testkit.StateDir(b), testkit.Address(b).String()
			m, _ := start(b, binary, state, bind)
			begin := time.Now()
			fill(b, m, n)
			filled := time.Since(begin)
			m.stop(b)
			var took []time.Duration
			for b.Loop() {
				again, ready := start(b, binary, state, bind)
				took = append(took, ready)
				again.stop(b)
			}
			m, _ = start(b, binary, state, bind, "--stop-on-exit")
			wait.Eventually(b, time.Minute, func() error {
				list, err := m.client.List(b.Context(), "", api.StatusInactive)
				if err == nil && len(list) != n {
					err = fmt.Errorf("%d of %d instances run", len(list), n)
				}
				return err
			})
			before := m.cpu(b)
			idle := 10 * time.Second
			time.Sleep(idle)
			used := m.cpu(b) - before
			b.ReportMetric(float64(filled)/float64(n)/float64(time.Millisecond), "create-ms/instance")
			b.ReportMetric(percentile(took, 0.5), "adopted-p50-ms")
			b.ReportMetric(m.status(b, "VmRSS")/1024, "rss-MiB")
			b.ReportMetric(m.status(b, "Threads"), "threads")
			b.ReportMetric(100*float64(used)/float64(idle), "idle-cpu-%")
			m.stop(b)
		})
	}
}

func fill(b *testing.B, m *program, n int) {
	b.Helper()
	var wg sync.WaitGroup
	for c := range 10 {
		wg.Go(func() {
			for i := c; i < n; i += 10 {
				if _, _, err := m.client.Create(b.Context(), instance(fmt.Sprint("srv-", i)), client.CreateOptions{}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
