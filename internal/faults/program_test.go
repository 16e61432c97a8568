package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/agent"
	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// programVariable makes the test binary a manager or an agent: its value is the settings.
const programVariable = "FAULTS_PROGRAM"

func TestMain(m *testing.M) {
	text := os.Getenv(programVariable)
	if text == "" {
		// These tests wait more than they work.
		if err := flag.Set("test.parallel", "8"); err != nil {
			panic(err)
		}
		os.Exit(m.Run())
	}
	if err := runProgram(text); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// settings are what a program is started with.
type settings struct {
	Kind   kind // of program
	Listen string
	Bind   netip.Addr // of the manager's ports
	State  string
	Binary string
	UIDs   supervisor.UIDRange
	// Crash is the crash point at whose Hit-th hit the program kills itself, as if the power had gone.
	Crash string
	Hit   int32
}

// errPeace is how a life ends that was asked to.
var errPeace = errors.New("it ended without an error")

type kind string

const (
	managers kind = "manager"
	agents   kind = "agent"
)

// units is the directory of the records, within the state directory.
func (k kind) units() string {
	if k == managers {
		return "instances"
	}
	return "clients"
}

// runProgram does what the real programs do, until its standard input ends: when the test ends, by whatever end, no
// service and no engine stays behind. A kill leaves the engines running.
func runProgram(text string) error {
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	lock, err := supervisor.LockState(s.State)
	if err != nil {
		return err
	}
	defer lock.Close()
	ln, err := httpapi.Listener{Address: s.Listen}.Open(ctx)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	svc, err := s.service(ln.Addr().(*net.TCPAddr).Port, log)
	if err != nil {
		return err
	}
	return service.Run(ctx, svc, ln, log)
}

func (s settings) service(port int, log *slog.Logger) (service.Service, error) {
	logs, token := filepath.Join(s.State, "log"), secret.New(testkit.Token)
	if s.Kind == managers {
		return manager.New(manager.Config{
			APIPort: port, Bind: s.Bind, State: s.State, Logs: logs, Binary: s.Binary, Token: token, UIDs: s.UIDs,
			// Few enough that a port which is given back is soon given again.
			Control: []api.PortRange{{Start: 10000, End: 10063}}, Public: []api.PortRange{{Start: 30000, End: 30127}},
			StopOnExit: true, Version: "test", Log: log, Crash: s.crash(),
		})
	}
	return agent.New(agent.Config{
		State: s.State, Logs: logs, Binary: s.Binary, Token: token, UIDs: s.UIDs,
		StopOnExit: true, Version: "test", Log: log, Crash: s.crash(),
	})
}

func (s settings) crash() func(string) {
	var hits atomic.Int32
	return func(point string) {
		if point == s.Crash && hits.Add(1) == s.Hit {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

// tester is what testing.T and rapid.T have in common and this package needs.
type tester interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

// program is a manager or an agent that is started on the same state again and again.
type program struct {
	settings
	log   string // path of its log, over all its lives
	ready func(ctx context.Context) error

	cmd   *exec.Cmd
	input io.Closer
	// life ends with the present life, and its cause tells how. Drivers read it while a new one begins.
	life atomic.Pointer[context.Context]
}

func newProgram(t *testing.T, k kind, uids supervisor.UIDRange) *program {
	t.Helper()
	address := testkit.Address(t)
	p := &program{settings: settings{
		Kind: k, Listen: fmt.Sprintf("%s:7001", address), Bind: address,
		State: testkit.StateDir(t), Binary: testkit.Rathole(t), UIDs: uids,
	}}
	p.log = filepath.Join(t.TempDir(), string(k)+".log")
	t.Cleanup(func() { p.mustEnd(t) })
	return p
}

func (p *program) client() client.Config {
	return client.Config{URL: "http://" + p.Listen, Token: secret.New(testkit.Token)}
}

// start begins a life, which ends itself at the hit-th hit of a crash point if one is named. It does not wait.
func (p *program) start(t tester, crash string, hit int) {
	t.Helper()
	s := p.settings
	s.Crash, s.Hit = crash, int32(hit)
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatalf("%s: %v", p.Kind, err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatalf("%s: %v", p.Kind, err)
	}
	log, err := os.OpenFile(p.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatalf("%s: %v", p.Kind, err)
	}
	defer log.Close()
	cmd := exec.Command(self)
	cmd.Env = []string{programVariable + "=" + string(text), "PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = log, log
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("%s: %v", p.Kind, err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", p.Kind, err)
	}
	life, end := context.WithCancelCause(context.Background())
	go func() {
		err := cmd.Wait()
		if err == nil {
			err = errPeace
		}
		end(err)
	}()
	p.cmd, p.input = cmd, input
	p.life.Store(&life)
}

// kill ends the present life at this moment.
func (p *program) kill(t tester) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("%s: %v", p.Kind, err)
	}
	p.mustDie(t)
}

// mustDie waits until the present life has ended by SIGKILL; any other end is a failure of the program.
func (p *program) mustDie(t tester) {
	t.Helper()
	select {
	case <-p.alive().Done():
	case <-time.After(10 * time.Second):
		t.Fatalf("the %s does not die\n%s", p.Kind, p.tail())
	}
	err := context.Cause(p.alive())
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the %s ended by itself: %v\n%s", p.Kind, err, p.tail())
	}
}

// died tells whether the present life has ended.
func (p *program) died() bool { return p.alive().Err() != nil }

// alive is done when the present life ends; a program must have been started once.
func (p *program) alive() context.Context { return *p.life.Load() }

func (p *program) mustBeReady(t tester) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second) // cleanups need it too
	defer cancel()
	wait.Eventually(t, 10*time.Second, func() error {
		err := p.ready(ctx)
		if err != nil && p.died() {
			t.Fatalf("the %s ended before it was ready\n%s", p.Kind, p.tail())
		}
		return err
	})
}

// mustEnd ends the last life in peace: the engines are stopped with it, and none may be left.
func (p *program) mustEnd(t *testing.T) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	if p.died() { // a failed test may have left no life, and a life that is ended before it began stops no engine
		p.start(t, "", 0)
		p.mustBeReady(t)
	}
	_ = p.input.Close()
	select {
	case <-p.alive().Done():
		if err := context.Cause(p.alive()); !errors.Is(err, errPeace) {
			t.Errorf("end of the %s: %v\n%s", p.Kind, err, p.tail())
		}
	case <-time.After(30 * time.Second):
		t.Errorf("the %s does not end\n%s", p.Kind, p.tail())
		_ = p.cmd.Process.Kill()
	}
	engines, err := p.engines()
	if err != nil {
		t.Error(err)
	}
	for id, pids := range engines {
		t.Errorf("engines of %s run without their %s: %v", id, p.Kind, pids)
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	text, err := os.ReadFile(p.log)
	if err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"DATA RACE", "panic:", testkit.Token} {
		if i := bytes.Index(text, []byte(bad)); i >= 0 {
			t.Errorf("%q in the log of the %s:\n%s", bad, p.Kind, text[i:min(len(text), i+4000)])
		}
	}
}

// tail is the end of the log, for the reports of failures.
func (p *program) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-6000):])
}
