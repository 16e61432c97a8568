package bench_test

import (
	"context"
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
	"github.com/satishost/terraform-provider-rathole/internal/testkit/scale"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// program is a manager or an agent as a process of its own, so that what it costs is not mixed with the benchmark.
type program struct{ cmd *exec.Cmd }

type managerProgram struct {
	program
	*client.Manager
}

type agentProgram struct {
	program
	*client.Agent
}

// startManager starts a manager on an engine, and tells how long it took until it was ready.
func startManager(b *testing.B, engine, state, bind string, args ...string) (*managerProgram, time.Duration) {
	b.Helper()
	m := &managerProgram{}
	took := m.launch(b, "manager", engine, state, append([]string{"--bind-address", bind}, args...), func(cfg client.Config) (ready, error) {
		var err error
		m.Manager, err = client.NewManager(cfg)
		return m.Manager, err
	})
	return m, took
}

// startAgent starts an agent on an engine.
func startAgent(b *testing.B, engine, state string, args ...string) *agentProgram {
	b.Helper()
	a := &agentProgram{}
	a.launch(b, "agent", engine, state, args, func(cfg client.Config) (ready, error) {
		var err error
		a.Agent, err = client.NewAgent(cfg)
		return a.Agent, err
	})
	return a
}

type ready interface{ Ready(context.Context) error }

func (p *program) launch(b *testing.B, name, engine, state string, args []string, dial func(client.Config) (ready, error)) time.Duration {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		b.Fatal(err)
	}
	service, err := dial(client.Config{URL: "http://" + address, Token: secret.New(testkit.Token)})
	if err != nil {
		b.Fatal(err)
	}
	p.cmd = exec.Command(build(b, name), append([]string{"--listen", address, "--state-dir", state}, args...)...)
	p.cmd.Env = []string{"RATHOLE_TOKEN=" + testkit.Token, "RATHOLE_BINARY=" + engine, "RATHOLE_CLIENT_BINARY=" + engine}
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
	wait.Eventually(b, time.Minute, func() error { return service.Ready(b.Context()) })
	return time.Since(begin)
}

// programs are what this run has built, by name.
var programs sync.Map

func build(b *testing.B, name string) string {
	b.Helper()
	if path, ok := programs.Load(name); ok {
		return path.(string)
	}
	dir, err := os.MkdirTemp("", "bench-") //nolint:usetesting // it outlives the benchmark, for the next one
	if err != nil {
		b.Fatal(err)
	}
	binary := filepath.Join(dir, "rathole-"+name)
	out, err := exec.CommandContext(b.Context(), "go", "build", "-o", binary, fmt.Sprintf("../../%s/rathole-%s", name, name)).CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	programs.Store(name, binary)
	return binary
}

func TestMain(m *testing.M) {
	code := m.Run()
	programs.Range(func(_, path any) bool {
		_ = os.RemoveAll(filepath.Dir(path.(string)))
		return true
	})
	os.Exit(code)
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

// idle is a full turn of the services' own clocks: some of them look at every engine each 5, 10 and 30 s.
const idle = 30 * time.Second

// rest leaves programs alone for a while and reports what each needs; prefix names it.
func rest(b *testing.B, programs map[string]*program) {
	b.Helper()
	before := map[string]time.Duration{}
	for prefix, p := range programs {
		before[prefix] = p.cpu(b)
	}
	time.Sleep(idle)
	for prefix, p := range programs {
		b.ReportMetric(100*float64(p.cpu(b)-before[prefix])/float64(idle), prefix+"idle-cpu-%")
		b.ReportMetric(p.status(b, "VmRSS")/1024, prefix+"rss-MiB")
		b.ReportMetric(p.status(b, "Threads"), prefix+"threads")
	}
}

func instance(id string) api.CreateInstance {
	return api.CreateInstance{ServerID: id, InstanceSpec: api.InstanceSpec{Services: map[string]api.ServiceSpec{
		"game": {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: 7777},
	}}}
}

// each calls do for n names, ten at a time.
func each(b *testing.B, n int, do func(id string) error) {
	b.Helper()
	var wg sync.WaitGroup
	for c := range 10 {
		wg.Go(func() {
			for i := c; i < n; i += 10 {
				if err := do(fmt.Sprint("srv-", i)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

func (m *managerProgram) fill(b *testing.B, n int) {
	b.Helper()
	each(b, n, func(id string) error {
		_, _, err := m.Create(b.Context(), instance(id), client.CreateOptions{})
		return err
	})
}

// are waits until so many instances have a status.
func (m *managerProgram) are(b *testing.B, n int, status api.Status) {
	b.Helper()
	wait.Eventually(b, time.Minute, func() error {
		list, err := m.List(b.Context(), "", status)
		if err == nil && len(list) != n {
			err = fmt.Errorf("%d of %d instances are %s", len(list), n, status)
		}
		return err
	})
}

func percentile(of []time.Duration, p float64) float64 {
	slices.Sort(of)
	return float64(of[int(float64(len(of)-1)*p)]) / float64(time.Millisecond)
}

// median is that of figures of any unit.
func median(of []float64) float64 {
	slices.Sort(of)
	return of[(len(of)-1)/2]
}

// instances is how many instances the largest measurements have: BENCH_SCALE, 1000 if it is not set. More than 1000 run on
// the stand-in for the engine.
func instances(b *testing.B) int { return scale.Of(b, "BENCH_SCALE", 1000) }
