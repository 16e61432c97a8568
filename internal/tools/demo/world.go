package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// How long a service may take to answer, and to stop with all its engines.
const (
	readyTimeout = 20 * time.Second
	stopTimeout  = 20 * time.Second
)

// world is everything that a demonstration makes: a directory, processes, a token.
type world struct {
	Options
	dir                  string
	token                secret.String
	managerURL, agentURL string
	services             []*service // in the order of their start
	steps                []step
}

type step struct {
	name string
	took time.Duration
}

// service is a manager or an agent.
type service struct {
	name string
	cmd  *exec.Cmd
	log  *bytes.Buffer
	done chan struct{} // closed when the process has ended
}

func newWorld(o Options) (*world, error) {
	dir, err := os.MkdirTemp(o.Temp, "rathole-demo-")
	if err != nil {
		return nil, err
	}
	// Engines that run as users of their own reach their files below it.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &world{Options: o, dir: dir, token: secret.Random()}, nil
}

func (w *world) bin() string { return filepath.Join(w.dir, "bin") }

func (w *world) state(service string) string { return filepath.Join(w.dir, service) }

func (w *world) say(format string, args ...any) { _, _ = fmt.Fprintf(w.Out, format+"\n", args...) }

// run runs a command to its end and shows its output only if it fails.
func (w *world) run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	_, err := w.output(ctx, dir, env, name, args...)
	return err
}

// output runs a command and returns its standard output. Commands are in a process group of their own, so that Ctrl-C on a
// terminal reaches this program alone, which then ends them in order.
func (w *world) output(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = stopTimeout
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(append([]string{filepath.Base(name)}, args...), " "), err, stdout.String()+stderr.String())
	}
	return stdout.Bytes(), nil
}

// serve starts a service and waits until it is ready.
func (w *world) serve(ctx context.Context, name, url string, env ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := &service{name: name, log: &bytes.Buffer{}, done: make(chan struct{})}
	// Not bound to ctx: it must outlive an interrupt, so that the tunnel is taken down in order.
	s.cmd = exec.Command(filepath.Join(w.bin(), name)) //nolint:noctx // see above
	s.cmd.Env = slices.Concat(env, []string{
		"RATHOLE_TOKEN=" + w.token.Reveal(), "RATHOLE_STATE_DIR=" + w.state(name), "RATHOLE_STOP_ON_EXIT=true", "PATH=" + os.Getenv("PATH"),
	})
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	w.services = append(w.services, s)
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait() // how it ended is judged by what it leaves
	}()
	return s.await(ctx, url+"/ready")
}

func (s *service) await(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return fmt.Errorf("%s ended:\n%s", s.name, s.log)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", s.name, ctx.Err())
		case <-tick.C:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
	}
}

// stop ends a service, and with it its engines.
func (s *service) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", s.name, err)
	}
	select {
	case <-s.done:
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("%s does not stop within %s: killing it; its engines may be left\n%w", s.name, stopTimeout, s.cmd.Process.Kill())
	}
}

// close takes everything down, clients first, and looks whether it is gone.
func (w *world) close() error {
	var (
		wg   sync.WaitGroup
		errs = make([]error, len(w.services)+2)
	)
	for i, s := range slices.Backward(w.services) {
		wg.Go(func() { errs[i] = s.stop() })
	}
	wg.Wait()
	if left, err := Processes(w.dir); err != nil || len(left) > 0 {
		errs[len(w.services)] = errors.Join(err, leftError(left))
	}
	errs[len(w.services)+1] = os.RemoveAll(w.dir)
	return errors.Join(errs...)
}

func leftError(left []string) error {
	if len(left) == 0 {
		return nil
	}
	return fmt.Errorf("processes are left: %s", strings.Join(left, ", "))
}
