package guides_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// program is rathole-manager or rathole-agent as a process of its own, on a machine that is a loopback address.
type program struct {
	path, listen, scheme, token string
	authority                   string // file of who vouches for its certificate
	state                       string
	args, env                   []string
	log                         string
	ready                       func() error

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

func newProgram(t *testing.T, path, listen, token string, args ...string) *program {
	t.Helper()
	p := &program{
		path: path, listen: listen, scheme: "http", token: token, state: testkit.StateDir(t),
		log: filepath.Join(t.TempDir(), filepath.Base(path)+".log"),
	}
	p.args = append([]string{"--listen", listen, "--state-dir", p.state, "--stop-on-exit"}, args...)
	p.env = []string{
		"PATH=" + os.Getenv("PATH"), "RATHOLE_TOKEN=" + token,
		"RATHOLE_BINARY=" + testkit.Rathole(t), "RATHOLE_CLIENT_BINARY=" + testkit.Rathole(t),
	}
	t.Cleanup(func() { p.end(t) })
	return p
}

func (p *program) client(t *testing.T) client.Config {
	t.Helper()
	c := client.Config{URL: p.scheme + "://" + p.listen, Token: secret.New(p.token)}
	if p.authority != "" {
		var err error
		if c.TLS, err = client.TrustAuthority(p.authority); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// start begins a life, and waits until it is ready.
func (p *program) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(p.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	p.cmd, p.done = exec.Command(p.path, p.args...), make(chan struct{})
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = p.env, log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(p.cmd, p.done)
	wait.Eventually(t, 20*time.Second, func() error {
		if p.dead() {
			t.Fatalf("%s has ended:\n%s", p.path, p.said(t))
		}
		return p.ready()
	})
}

func (p *program) dead() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the life as a crash would: its engines run on.
func (p *program) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.done
}

// end stops the program and its engines; one that was killed is started for it again.
func (p *program) end(t *testing.T) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	if p.dead() {
		p.start(t)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		t.Errorf("%s does not end", p.path)
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	if text := p.said(t); bytes.Contains(text, []byte(p.token)) {
		t.Errorf("its token is in the log of %s", p.path)
	}
}

func (p *program) said(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		t.Error(err)
	}
	return text
}
