package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// mustFail runs the program with arguments that it must refuse, and returns what it says.
func mustFail(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := run(ctx, args, io.Discard, io.Discard, func(net.Addr) { cancel() })
	if err == nil {
		t.Fatalf("%v: it runs", args)
	}
	return err.Error()
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{"--help": "RATHOLE_PORT_START", "--version": "rathole-manager dev"} {
		var out bytes.Buffer
		if err := run(t.Context(), []string{arg}, &out, io.Discard, nil); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v\n%s", arg, err, out.String())
		}
		if strings.Contains(out.String(), "--token=") {
			t.Errorf("%s offers a flag for the token", arg)
		}
	}
}

// TestDoctor asks the program about a machine that is well and one that is not.
func TestDoctor(t *testing.T) {
	t.Parallel()
	state := testkit.StateDir(t)
	settings := []string{"--listen", "127.0.0.1:0", "--bind-address", "127.0.0.1", "--state-dir", state, "--binary", testkit.Rathole(t)}
	for name, tc := range map[string]struct {
		args []string
		want string
		fail bool
	}{
		"well":             {[]string{"doctor"}, "CHECK", false},
		"well, in JSON":    {[]string{"doctor", "-o", "json"}, `"check": "engine"`, false},
		"flags come first": {[]string{"--plain-http", "doctor"}, "plain HTTP", false},
		"no engine":        {[]string{"doctor", "--binary", filepath.Join(state, "none")}, "RATHOLE_BINARY", true},
		"ranges backwards": {[]string{"doctor", "--port-start", "20000", "--port-end", "10000"}, "swap", true},
	} {
		var out bytes.Buffer
		err := run(t.Context(), append(slices.Clone(settings), tc.args...), &out, io.Discard, nil)
		if (err != nil) != tc.fail || !strings.Contains(out.String(), tc.want) {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		}
	}
	if left, err := os.ReadDir(state); err != nil || len(left) != 0 {
		t.Errorf("doctor left something behind: %v %v", left, err)
	}
}

// TestServeIsTheDefault: the word serve changes nothing.
func TestServeIsTheDefault(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := false
	err := run(ctx, []string{"serve", "--listen", "127.0.0.1:0", "--bind-address", "127.0.0.1", "--state-dir", testkit.StateDir(t)}, io.Discard, io.Discard,
		func(net.Addr) { served = true; cancel() })
	if err != nil || !served {
		t.Errorf("served %t: %v", served, err)
	}
	if said := mustFail(t, "docter"); !strings.Contains(said, "doctor") {
		t.Errorf("an unknown command: %s", said)
	}
}

func TestStartIsRefusedWithASentence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"clear text on a network": {[]string{"--listen", "0.0.0.0:0", "--public-host", "vps"}, "--plain-http"},
		"half of TLS":             {[]string{"--tls-cert", "x.pem"}, "set both"},
		"unknown flag":            {[]string{"--prot-start", "1"}, "--help"},
		"unknown key in the file": {[]string{"--config", file("typo.toml", "port-begin = 1\n")}, "port-begin"},
		"broken file":             {[]string{"--config", file("broken.toml", "port-start = \n")}, "config file"},
		"ports backwards":         {[]string{"--port-start", "20000", "--port-end", "10000"}, "swap"},
		"ports from the file":     {[]string{"--config", file("ports.toml", "port-start = 20000\nport-end = 10000\n")}, "swap"},
		"no range":                {[]string{"--ports", "1-x"}, "RATHOLE_PORTS"},
		"no address":              {[]string{"--bind-address", "vps"}, "RATHOLE_BIND_ADDRESS"},
		"no users":                {[]string{"--unit-uids", "x"}, "RATHOLE_UNIT_UIDS"},
		"no public host":          {[]string{"--bind-address", "0.0.0.0"}, "RATHOLE_PUBLIC_HOST"},
		"empty token file":        {[]string{"--token-file", file("token", "\n")}, "empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--listen", "127.0.0.1:0", "--bind-address", "127.0.0.1", "--state-dir", t.TempDir()}, tc.args...)
			if said := mustFail(t, args...); !strings.Contains(said, tc.says) {
				t.Errorf("it says %q, without %q", said, tc.says)
			}
		})
	}
}

// TestGeneratedToken starts without a token: one is made, kept for the next start, and only its place is logged.
func TestGeneratedToken(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	var tokens []string
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		var log locked
		err := run(ctx, []string{"--listen", "127.0.0.1:0", "--bind-address", "127.0.0.1", "--state-dir", state, "--binary", testkit.Rathole(t)}, io.Discard, &log, func(net.Addr) { cancel() })
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(state, "token"))
		if err != nil {
			t.Fatal(err)
		}
		token := strings.TrimSpace(string(text))
		if len(token) < 40 || strings.Contains(log.String(), token) || !strings.Contains(log.String(), filepath.Join(state, "token")) {
			t.Errorf("token of %d characters; log:\n%s", len(token), log.String())
		}
		tokens = append(tokens, token)
	}
	if tokens[0] != tokens[1] {
		t.Error("the second start made another token")
	}
}

// locked is a buffer for a log that goroutines share.
type locked struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// running is the built program as a process of its own.
type running struct {
	*exec.Cmd
	client *client.Manager
	log    locked
}

func start(t *testing.T, binary, state, bind string, args ...string) *running {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	p := &running{}
	p.Cmd = exec.Command(binary, append([]string{"--listen", address, "--bind-address", bind, "--state-dir", state}, args...)...)
	p.Env = []string{"RATHOLE_TOKEN=" + testkit.Token, "RATHOLE_BINARY=" + testkit.Rathole(t)}
	p.Stdout, p.Stderr = &p.log, &p.log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	p.client, err = client.NewManager(client.Config{URL: "http://" + address, Token: secret.New(testkit.Token)})
	if err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 20*time.Second, func() error { return p.client.Ready(t.Context()) })
	return p
}

func (p *running) end(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait() // the exit code of a killed process is no news
}

// TestKillAndStopOfTheProgram ends the program the hard way and the soft way under a player who keeps talking.
func TestKillAndStopOfTheProgram(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "rathole-manager")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	state, bind := testkit.StateDir(t), testkit.Address(t).String()
	server := testkit.StartGame(t, "lasting", 30000)
	a := testkit.StartAgent(t, nil)

	p := start(t, binary, state, bind)
	_, _, err := p.client.Create(t.Context(), api.CreateInstance{
		ServerID: "one", InstanceSpec: api.InstanceSpec{GamePort: 30000, HostIP: server.Host.String()},
	}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := p.client.ClientConfig(t.Context(), "one", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Configure(t.Context(), "one", cfg.Config, false); err != nil {
		t.Fatal(err)
	}
	if i, err := p.client.Wait(t.Context(), "one", api.StatusHealthy, 10*time.Second); err != nil || i.Status != api.StatusHealthy {
		t.Fatalf("%v %+v", err, i.Conditions)
	}
	player, err := game.Join(t.Context(), api.TCP, bind+":30000")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(when string) {
		t.Helper()
		if got, err := player.Ask(when); err != nil || got != when {
			t.Errorf("%s: %q %v", when, got, err)
		}
	}
	ask("before")
	for _, sig := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT} {
		p.end(t, sig)
		ask(fmt.Sprint("after ", sig))
		p = start(t, binary, state, bind)
		ask("after the next start")
		if !strings.Contains(p.log.String(), "adopted") {
			t.Errorf("after %s: not adopted\n%s", sig, p.log.String())
		}
	}
	// A second one on the same state is turned away.
	said := mustFail(t, "--listen", "127.0.0.1:0", "--bind-address", bind, "--state-dir", state)
	if !strings.Contains(said, "another service already runs") {
		t.Errorf("a second manager: %s", said)
	}
	p.end(t, syscall.SIGTERM)
	p = start(t, binary, state, bind, "--stop-on-exit")
	p.end(t, syscall.SIGTERM)
	if _, err := player.Ask("after stop-on-exit"); err == nil {
		t.Error("the tunnel outlives --stop-on-exit")
	}
	if strings.Contains(p.log.String(), testkit.Token) {
		t.Errorf("the log tells the token:\n%s", p.log.String())
	}
}
