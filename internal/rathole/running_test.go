package rathole

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/testkit/fakeengine"
)

// patience bounds every wait for the engine. It answers in milliseconds; the rest is for a busy machine.
const patience = 20 * time.Second

// realEngine gives the binary under test.
func realEngine(t *testing.T) Binary {
	t.Helper()
	path := os.Getenv("RATHOLE_BINARY")
	if path == "" {
		t.Fatal("set RATHOLE_BINARY to a rathole " + Version + " executable: this test runs the real engine")
	}
	b, err := Find(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// onBoth runs a test on the real engine and on its stand-in, which must not be told from it.
func onBoth(t *testing.T, test func(t *testing.T, b Binary)) {
	t.Helper()
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		test(t, realEngine(t))
	})
	t.Run("stand-in", func(t *testing.T) {
		t.Parallel()
		b, err := Find(t.Context(), fakeengine.Build(t))
		if err != nil {
			t.Fatal(err)
		}
		test(t, b)
	})
}

// running is one engine process with its own directory.
type running struct {
	t      *testing.T
	half   string // server or client
	config string // path
	log    string // its standard output
	errLog string // its standard error
	pid    int
	kill   func()
	exited chan struct{} // closed once the process is gone and reaped
}

// run starts the engine on a config. half is "server" or "client".
func run(t *testing.T, b Binary, half string, text []byte) *running {
	t.Helper()
	dir := t.TempDir()
	r := &running{
		t: t, half: half, config: filepath.Join(dir, half+".toml"), exited: make(chan struct{}),
		// Not beside the config: rathole watches that directory.
		log: filepath.Join(t.TempDir(), "out.log"),
	}
	r.errLog = r.log + ".err"
	if err := os.WriteFile(r.config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(b.Path, "--"+half, r.config)
	cmd.Env = []string{"RUST_LOG=info", "TOKIO_WORKER_THREADS=1"}
	cmd.Stdout, cmd.Stderr = create(t, r.log), create(t, r.errLog)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.exited)
		_ = cmd.Wait()
	}()
	r.pid = cmd.Process.Pid
	r.kill = func() {
		_ = cmd.Process.Kill()
		<-r.exited
	}
	t.Cleanup(func() {
		r.kill()
		if t.Failed() {
			t.Logf("%s\n--- config\n%s\n--- log\n%s--- stderr\n%s", half, text, read(t, r.log), read(t, r.errLog))
		}
	})
	return r
}

func create(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// swap replaces the config as the supervisor does: written beside it, renamed.
func (r *running) swap(text []byte) {
	r.t.Helper()
	beside := r.config + ".new"
	if err := os.WriteFile(beside, text, 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(beside, r.config); err != nil {
		r.t.Fatal(err)
	}
}

// await waits for a line of a kind, and of a service unless that is empty, in one of the engine's two files.
func (r *running) await(path string, kind Kind, service string) Line {
	r.t.Helper()
	var offset int64
	var found Line
	ok := poll(r.t.Context(), func() bool {
		lines, next, err := ReadLog(path, offset, 64<<10)
		if err != nil {
			r.t.Fatal(err)
		}
		offset = next
		for _, line := range lines {
			if found = ParseLine(line); found.Kind == kind && (service == "" || found.Service == service) {
				return true
			}
		}
		return false
	})
	if !ok {
		r.t.Fatalf("no line of kind %s for service %q", kind, service)
	}
	return found
}

// started waits until the engine runs with its config, or is gone. A client must have a service to show it.
func (r *running) started(b Binary) bool {
	r.t.Helper()
	up := []Kind{KindServiceStarting}
	if r.half == "server" {
		up = []Kind{KindListening}
	}
	if b.HotReload() {
		up = append(up, KindWatching)
	}
	accepted := false
	if !poll(r.t.Context(), func() bool {
		seen := map[Kind]bool{}
		lines, _, err := ReadLog(r.log, 0, 64<<10)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, line := range lines {
			seen[ParseLine(line).Kind] = true
		}
		accepted = !slices.ContainsFunc(up, func(k Kind) bool { return !seen[k] })
		select {
		case <-r.exited:
			accepted = false
			return true
		default:
			return accepted
		}
	}) {
		r.t.Fatal("the engine neither starts nor ends")
	}
	return accepted
}

// poll asks until the answer is yes or patience ends.
func poll(ctx context.Context, done func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if done() {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// freePort gives a port of 127.0.0.1 that is free for TCP and UDP right now.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp", local(port))
		_ = l.Close()
		if err == nil {
			_ = u.Close()
			return port
		}
	}
	t.Fatal("no port is free for TCP and UDP")
	return 0
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// must unwraps what cannot fail in a test.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// lines makes a text of lines.
func lines(l ...string) []byte { return []byte(strings.Join(l, "\n") + "\n") }
