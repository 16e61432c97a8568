package testkit

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/agent"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// Token is the API token of every service that the kit starts. Tests search logs, states and command lines for it.
const Token = "kit-token-that-must-never-be-seen"

// Running is a manager or an agent that answers on a port of its own.
type Running struct {
	URL   string
	State string // state directory; logs lie in its "log"
	Addr  netip.AddrPort

	stop context.CancelFunc
	done chan struct{}
	err  error
	once sync.Once
}

// Shutdown ends the service and waits for it. What becomes of its engines is the config's StopOnExit.
func (r *Running) Shutdown(t testing.TB) {
	t.Helper()
	r.once.Do(func() {
		r.stop()
		<-r.done
		if r.err != nil {
			t.Errorf("service on %s: %v", r.URL, r.err)
		}
	})
}

// Manager is a running manager. Its control and public ports are on an address of its own, Bind.
type Manager struct {
	*Running
	*client.Manager
	Bind netip.Addr
}

// StartManager starts a manager on real rathole and waits until it is ready. change, if not nil, has the last word on its
// config.
func StartManager(t testing.TB, change func(*manager.Config)) *Manager {
	t.Helper()
	cfg := manager.Config{
		Bind: Address(t), State: StateDir(t), Binary: Rathole(t), Token: secret.New(Token),
		UIDs: uids(t, 200000), StopOnExit: true, Version: "test", Log: wait.Logger(t),
	}
	if change != nil {
		change(&cfg)
	}
	if cfg.Logs == "" {
		cfg.Logs = filepath.Join(cfg.State, "log")
	}
	r := start(t, cfg.State, func(port int) (service.Service, error) {
		cfg.APIPort = port
		return manager.New(cfg)
	})
	m := &Manager{Running: r, Bind: cfg.Bind}
	var err error
	m.Manager, err = client.NewManager(client.Config{URL: r.URL, Token: cfg.Token})
	if err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 10*time.Second, func() error { return m.Ready(t.Context()) })
	return m
}

// Agent is a running agent.
type Agent struct {
	*Running
	*client.Agent
}

// StartAgent starts an agent on real rathole and waits until it is ready. change, if not nil, has the last word on its
// config.
func StartAgent(t testing.TB, change func(*agent.Config)) *Agent {
	t.Helper()
	cfg := agent.Config{
		State: StateDir(t), Binary: Rathole(t), Token: secret.New(Token),
		UIDs: uids(t, 220000), StopOnExit: true, Version: "test", Log: wait.Logger(t),
	}
	if change != nil {
		change(&cfg)
	}
	if cfg.Logs == "" {
		cfg.Logs = filepath.Join(cfg.State, "log")
	}
	r := start(t, cfg.State, func(int) (service.Service, error) { return agent.New(cfg) })
	a := &Agent{Running: r}
	var err error
	a.Agent, err = client.NewAgent(client.Config{URL: r.URL, Token: cfg.Token})
	if err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 10*time.Second, func() error { return a.Ready(t.Context()) })
	return a
}

// StateDir is a temporary directory that every user may search, so that engines with users of their own reach their files.
func StateDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Engines is how many engines a test may run at once: each takes one of its user's inotify instances, of which the kernel
// allows 128 unless told otherwise. With users of their own there is no such bound; else some are left for other tests.
func Engines(t testing.TB) int {
	t.Helper()
	if uids(t, 200000).Count > 0 {
		return 1000
	}
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		t.Fatal(err)
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return limit / 2
}

// uids gives engines users of their own if the test runs as root, as the programs do.
func uids(t testing.TB, base int) supervisor.UIDRange {
	t.Helper()
	r := supervisor.UIDRange{Base: base, Count: 10001}
	if r.Usable("/") != nil {
		return supervisor.UIDRange{}
	}
	return r
}

// start runs a service the way its program does: the state's lock, a listener, the service, its routes.
func start(t testing.TB, state string, build func(port int) (service.Service, error)) *Running {
	t.Helper()
	lock, err := supervisor.LockState(state)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := httpapi.Listener{Address: "127.0.0.1:0"}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr)
	svc, err := build(addr.Port)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &Running{URL: "http://" + addr.String(), State: state, Addr: addr.AddrPort(), stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		defer func() { _ = lock.Close() }()
		r.err = service.Run(ctx, svc, ln, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() { r.Shutdown(t) })
	return r
}
