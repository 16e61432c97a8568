package faults_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// errPeace is how a life ends that was asked to.
var errPeace = errors.New("it ended without an error")

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

	// Real, if not empty, is the path of the real program, which is run in place of this test binary's.
	Real       string
	StopOnExit bool // of the real program; the other one always does

	cmd     *exec.Cmd
	input   io.WriteCloser
	answers *bufio.Reader
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
	log, err := os.OpenFile(p.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatalf("%s: %v", p.Kind, err)
	}
	defer log.Close()
	cmd, err := p.command(crash, hit)
	if err != nil {
		t.Fatalf("%s: %v", p.Kind, err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("%s: %v", p.Kind, err)
	}
	answers, theirs, err := os.Pipe()
	if err != nil {
		t.Fatalf("%s: %v", p.Kind, err)
	}
	cmd.ExtraFiles = []*os.File{theirs}
	err = cmd.Start()
	_ = theirs.Close()
	if err != nil {
		t.Fatalf("%s: %v", p.Kind, err)
	}
	life, end := context.WithCancelCause(context.Background())
	go func() {
		err := cmd.Wait()
		if err == nil {
			err = errPeace
		}
		_ = answers.Close()
		end(err)
	}()
	p.cmd, p.input, p.answers = cmd, input, bufio.NewReader(answers)
	p.life.Store(&life)
}

func (p *program) command(crash string, hit int) (*exec.Cmd, error) {
	if p.Real != "" {
		args := []string{"--listen", p.Listen, "--state-dir", p.State, fmt.Sprintf("--unit-uids=%d:%d", p.UIDs.Base, p.UIDs.Count)}
		if p.Kind == managers {
			args = append(args, "--bind-address", p.Bind.String())
		}
		if p.StopOnExit {
			args = append(args, "--stop-on-exit")
		}
		cmd := exec.Command(p.Real, args...)
		cmd.Env = []string{"RATHOLE_TOKEN=" + testkit.Token, "RATHOLE_BINARY=" + p.Binary, "RATHOLE_CLIENT_BINARY=" + p.Binary}
		return cmd, nil
	}
	s := p.settings
	s.Crash, s.Hit = crash, int32(hit)
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	cmd := exec.Command(self)
	cmd.Env = []string{programVariable + "=" + string(text), "PATH=" + os.Getenv("PATH")}
	return cmd, err
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

// mustLeave asks the present life to end, and waits until it has.
func (p *program) mustLeave(t *testing.T) {
	t.Helper()
	_ = p.input.Close()
	if p.Real != "" {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	select {
	case <-p.alive().Done():
		if err := context.Cause(p.alive()); !errors.Is(err, errPeace) {
			t.Errorf("end of the %s: %v\n%s", p.Kind, err, p.tail())
		}
	case <-time.After(30 * time.Second):
		t.Errorf("the %s does not end\n%s", p.Kind, p.tail())
		_ = p.cmd.Process.Kill()
	}
}

// mustEnd ends the last life in peace: the engines are stopped with it, and none may be left.
func (p *program) mustEnd(t *testing.T) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	if p.Real != "" && !p.died() {
		p.mustLeave(t)
	}
	if p.died() { // a failed test may have left no life, and a life that is ended before it began stops no engine
		p.StopOnExit = true
		p.start(t, "", 0)
		p.mustBeReady(t)
	}
	p.mustLeave(t)
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
