package supervisor_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor/process"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// TestMain makes this test program its own engine: started by the back end, with this variable, it does what its config
// says.
func TestMain(m *testing.M) {
	if os.Getenv("FAKE_ENGINE") == "" {
		os.Exit(m.Run())
	}
	os.Exit(engine(os.Args[2]))
}

// engine is the fake one. "exit N" in its config makes it exit at once; else it runs until SIGINT.
func engine(config string) int {
	text, err := os.ReadFile(config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var code int
	if n, _ := fmt.Sscanf(string(text), "exit %d", &code); n == 1 {
		fmt.Fprintln(os.Stderr, "told to exit")
		return code
	}
	fmt.Println("running on", strings.TrimSpace(string(text)))
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT)
	<-interrupted
	return 0
}

// extra is the owner's part of a record in these tests.
type extra struct{ Note string }

// fakeRules are the fake engine's.
type fakeRules struct{ program string }

func (r fakeRules) Program(supervisor.Record[extra]) (string, error) { return r.program, nil }

func (r fakeRules) Preflight(_ context.Context, rec supervisor.Record[extra]) error {
	if rec.Config == "refused" {
		return &supervisor.Failure{Reason: "refused", Message: "refused before the start"}
	}
	return nil
}

func (r fakeRules) Ready(_ context.Context, rec supervisor.Record[extra], p supervisor.Process) (bool, error) {
	if rec.Config == "slow" {
		return false, nil
	}
	log, err := os.ReadFile(p.Log)
	return strings.Contains(string(log[p.LogOffset:]), "running"), err
}

func (r fakeRules) Diagnose(supervisor.Record[extra], supervisor.Process) *supervisor.Failure {
	return nil
}

// Reload takes a config over if it differs from the old one only after the word "reloadable".
func (r fakeRules) Reload(_ context.Context, rec supervisor.Record[extra], _ supervisor.Process, old string, swap func() error) (bool, error) {
	if !strings.HasPrefix(old, "reloadable") || !strings.HasPrefix(rec.Config, "reloadable") {
		return false, nil
	}
	return true, swap()
}

// house is one state directory and the supervisors that run on it, one after the other.
type house struct {
	t     *testing.T
	state string
	flag  string // what stands before the config's path on the engine's command line
}

func newHouse(t *testing.T) *house {
	t.Helper()
	return &house{t: t, state: t.TempDir(), flag: "-s"}
}

func (h *house) units() string { return filepath.Join(h.state, "units") }
func (h *house) logs() string  { return filepath.Join(h.state, "log") }

// shift is one supervisor at work.
type shift struct {
	*supervisor.Supervisor[extra]
	backend *process.Backend
	end     func()
}

// open starts a supervisor. At the end of the test it is closed, and every process that is left is stopped.
func (h *house) open(change func(*supervisor.Config[extra])) *shift {
	h.t.Helper()
	program, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	store, err := supervisor.NewDirectory(h.units(), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	backend, err := process.New(process.Config{
		Units: h.units(), Logs: h.logs(), Flag: h.flag, ConfigName: "fake.toml", Env: []string{"FAKE_ENGINE=1", "GORACE=atexit_sleep_ms=0"},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	cfg := supervisor.Config[extra]{
		Store: store, Backend: backend, Rules: fakeRules{program}, Log: wait.Logger(h.t),
		BackoffMin: 20 * time.Millisecond, BackoffMax: 100 * time.Millisecond,
		StartTimeout: time.Minute, // a busy machine may take long to start hundreds; nobody waits for one that is ready
	}
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	s := &shift{Supervisor: supervisor.New(cfg), backend: backend}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	ended := false
	s.end = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("Run: %v", err)
		}
	}
	h.t.Cleanup(func() {
		s.end()
		h.sweep()
	})
	select {
	case <-s.Ready():
	case err := <-done:
		ended = true
		h.t.Fatalf("Run ended before it was ready: %v", err)
	}
	return s
}

// sweep stops what a test left running.
func (h *house) sweep() {
	b, err := process.New(process.Config{Units: h.units(), Logs: h.logs(), Flag: h.flag, ConfigName: "fake.toml"})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx := context.WithoutCancel(h.t.Context())
	left, err := b.List(ctx)
	if err != nil {
		h.t.Error(err)
	}
	for _, p := range left {
		if err := b.Stop(ctx, p.ID); err != nil {
			h.t.Error(err)
		}
	}
	if err := b.Close(); err != nil {
		h.t.Error(err)
	}
}

func (s *shift) mustCreate(t *testing.T, id, config string) supervisor.View[extra] {
	t.Helper()
	v, err := s.Create(t.Context(), id, supervisor.Draft[extra]{Desired: supervisor.Running, Config: config})
	if err != nil {
		t.Fatalf("create %s: %v", id, err)
	}
	return v
}
