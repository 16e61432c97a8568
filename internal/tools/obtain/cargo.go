package obtain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// byCargo builds rathole with the features that need no system library: noise, but no TLS. --locked is left out on
// purpose: the lock file published with 0.5.0 has a time crate that no longer compiles.
func (e engine) byCargo(ctx context.Context, executable, work string) error {
	found := e.inPath("cargo")
	if len(found) == 0 {
		return errors.New("cargo is not in PATH")
	}
	step := begin(e.Progress, "building rathole "+rathole.Version+" with cargo, one to two minutes")
	defer step.end()
	said := &lastLines{limit: 12, each: step.set}
	cmd := exec.CommandContext(ctx, found[0], "install", "rathole", "--version", rathole.Version,
		"--no-default-features", "--features", "embedded", "--root", work)
	cmd.Dir = work // away from the configuration and toolchain file of whatever project we were called in
	cmd.Env = append(os.Environ(), "CARGO_TARGET_DIR="+filepath.Join(work, "target"), "CARGO_TERM_COLOR=never")
	cmd.Stdout, cmd.Stderr = said, said
	endsWithCaller(cmd)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: it says %s", strings.Join(cmd.Args, " "), err, said)
	}
	if err := os.Rename(filepath.Join(work, "bin", "rathole"), executable); err != nil {
		return fmt.Errorf("cargo install: %w", err)
	}
	return works(ctx, executable)
}

// endsWithCaller makes what a command starts (compilers) end with it, also when the one who gives up is no terminal.
func endsWithCaller(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
}

// lastLines keeps the end of a program's output, where its error is, and hands on each line as it comes.
type lastLines struct {
	limit int
	each  func(line string)

	mu      sync.Mutex
	partial []byte
	lines   []string
}

// Write never fails, so that the program is not ended by a broken pipe.
func (l *lastLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		line, rest, found := bytes.Cut(l.partial, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.partial = rest
		if text := strings.TrimSpace(string(line)); text != "" {
			l.lines = append(l.lines, text)
			l.each(text)
		}
		if len(l.lines) > l.limit {
			l.lines = l.lines[1:]
		}
	}
}

// String is what was kept, on one line.
func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%q", strings.Join(l.lines, " | "))
}
