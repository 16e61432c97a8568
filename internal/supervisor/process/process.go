// Package process is the supervisor's back end for plain processes of Linux.
//
// Every unit's process is in a session of its own, writes its log to a file (never to a pipe: rathole hangs on a full one
// and aborts on a broken one), and survives the service that started it. Two facts that the kernel holds, and no pid file,
// tell who is who: the process inherits a locked descriptor of <units>/<id>/run.lock, which is locked exactly as long as
// it lives, and its command line names its config.
package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/limits"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// The files of a unit, below <units>/<id>/.
const (
	configDir = "conf"     // alone in its directory: rathole watches the directory of its config
	lockFile  = "run.lock" // locked as long as the process lives
	runFile   = "run.json" // a hint about the process, for people and for a first look
)

// lockFD is the descriptor of run.lock inside the process: the first one after the standard three.
const lockFD = 3

// stopGrace is how long a process has to end by itself; rathole needs 17-37 ms.
const stopGrace = 5 * time.Second

// killGrace is how long it may take after SIGKILL, which the kernel carries out as soon as the process is not in a system call
// that cannot be interrupted.
const killGrace = 10 * time.Second

// Config is what a Backend works with. All but Env, Log and Crash are required.
type Config struct {
	Units      string   // directory with one directory per unit
	Logs       string   // directory of the log files
	Flag       string   // what stands before the config's path on the command line: "-s" or "-c"
	ConfigName string   // file name of the config: "server.toml" or "client.toml"
	Env        []string // the whole environment of the processes
	LowPorts   bool     // processes with a user of their own may bind ports below 1024
	Log        *slog.Logger
	Crash      func(point string) // called at each named crash point; only tests set it
}

// Backend implements supervisor.Backend.
type Backend struct {
	cfg    Config
	boot   string // the kernel's boot id
	events chan string
	done   chan struct{} // closed by Close: watchers let go of their processes
	wg     sync.WaitGroup
	kernel limits.Kernel

	// births is held for reading while a process is started and not yet known: List, which holds it for writing, would take
	// such a one for the child of an earlier run, and nobody would reap it.
	births sync.RWMutex

	mu    sync.Mutex
	known map[string]*tracked // the last process of each unit
	// oomKills is how many processes the kernel had killed for want of memory at the last look, up to ten seconds ago.
	oomKills uint64
}

// tracked is a process and the kernel's handle on it. The handle never means another process, whatever becomes of the pid.
type tracked struct {
	proc  supervisor.Process
	pidfd *os.File
	child *os.Process   // nil for an adopted process
	errs  *os.File      // its standard error, if that is a file in memory
	ended chan struct{} // closed once proc.Exit is set
}

// close lets go of the kernel's handles.
func (t *tracked) close() {
	_ = t.pidfd.Close()
	if t.errs != nil {
		_ = t.errs.Close()
	}
}

var _ supervisor.Backend = (*Backend)(nil)

// New makes the log directory and returns a back end that knows no process yet.
func New(cfg Config) (*Backend, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("read the boot id: %w", err)
	}
	if cfg.Crash == nil {
		cfg.Crash = func(string) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Logs, 0o700); err != nil { // tunnels come first, logs second
		cfg.Log.Error("no log directory: engines run without a log", "error", err)
	}
	b := &Backend{
		cfg:    cfg,
		boot:   string(boot[:len(boot)-1]),
		events: make(chan string, 64),
		done:   make(chan struct{}),
		kernel: limits.This(),
		known:  map[string]*tracked{},
	}
	b.oomKills = b.kernel.OOMKills()
	return b, nil
}

// Events implements supervisor.Backend.
func (b *Backend) Events() <-chan string { return b.events }

// Close implements supervisor.Backend: the processes go on. No other method may be called afterwards.
func (b *Backend) Close() error {
	close(b.done)
	b.mu.Lock()
	for _, t := range b.known {
		// Wakes the watcher, which is parked in the poller on this descriptor.
		_ = t.pidfd.SetReadDeadline(time.Now())
	}
	b.mu.Unlock()
	b.wg.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, t := range b.known {
		t.close()
		delete(b.known, id)
	}
	return nil
}

// Process implements supervisor.Backend.
func (b *Backend) Process(id string) (supervisor.Process, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.known[id]
	if t == nil {
		return supervisor.Process{}, false
	}
	return t.proc, true
}

// Frozen implements supervisor.Backend.
func (b *Backend) Frozen() []string {
	b.mu.Lock()
	running := map[string]int{}
	for id, t := range b.known {
		if t.proc.Exit == nil {
			running[id] = t.proc.PID
		}
	}
	b.mu.Unlock()
	var frozen []string
	for id, pid := range running {
		if Stopped(pid) {
			frozen = append(frozen, id)
		}
	}
	return frozen
}

// track makes t the unit's process and watches for its end.
func (b *Backend) track(t *tracked) {
	b.mu.Lock()
	if before := b.known[t.proc.ID]; before != nil {
		before.close()
	}
	b.known[t.proc.ID] = t
	b.mu.Unlock()
	b.wg.Go(func() { b.watch(t) })
}

// watch waits for the end of a process on the runtime's poller: a goroutine each, but no thread each, of which the
// runtime allows 10,000.
func (b *Backend) watch(t *tracked) {
	if !waitReadable(t.pidfd) {
		return // Close
	}
	exit := supervisor.Exit{Code: -1, At: time.Now()}
	if t.child != nil {
		if state, err := t.child.Wait(); err == nil {
			exit.Known, exit.Code = true, state.ExitCode()
			if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
				exit.Signal = unix.SignalName(status.Signal())
			}
		}
	}
	var kills uint64
	if exit.Signal == "SIGKILL" || !exit.Known {
		kills = b.kernel.OOMKills() // the kernel counts first, and kills then
	}
	said := b.errPath(t.proc.ID)
	if t.errs != nil {
		said = keepStderr(t.errs, said)
	}
	b.mu.Lock()
	exit.OOMKills = kills - min(b.oomKills, kills)
	t.proc.Exit, t.proc.ErrLog = &exit, said
	b.mu.Unlock()
	close(t.ended)
	select {
	case b.events <- t.proc.ID:
	case <-b.done:
	}
}

// Stop implements supervisor.Backend.
func (b *Backend) Stop(ctx context.Context, id string) error {
	b.mu.Lock()
	t := b.known[id]
	b.mu.Unlock()
	if t != nil {
		if err := b.end(ctx, t); err != nil {
			return fmt.Errorf("stop process %d of %s: %w", t.proc.PID, id, err)
		}
	}
	// The lock is the last word: somebody may have a copy of the process that we never saw.
	// It is not made here: on a full disk that would fail, and where there is none, nobody holds it.
	lock, err := b.lock(id, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no process was ever started, or the unit's directory is gone
	}
	if err != nil {
		return fmt.Errorf("stop %s: %w", id, err)
	}
	return lock.Close()
}

// end signals a process and waits until it is gone. One that does not even end by SIGKILL, in the hands of a disk that hangs for
// example, is an error: whoever wants its end comes back, and holds up nobody else meanwhile.
func (b *Backend) end(ctx context.Context, t *tracked) error {
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	if err := signal(t.pidfd, unix.SIGINT); err != nil {
		return err
	}
	if Stopped(t.proc.PID) {
		// A stopped process would take the signal only once it goes on.
		grace.Reset(0)
	}
	for killed := false; ; killed = true {
		select {
		case <-t.ended:
			return nil
		case <-grace.C:
			if killed {
				return fmt.Errorf("it does not end %s after SIGKILL: the kernel holds it, perhaps for a disk that hangs", killGrace)
			}
			if err := signal(t.pidfd, unix.SIGKILL); err != nil {
				return err
			}
			grace.Reset(killGrace)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Clean implements supervisor.Backend.
func (b *Backend) Clean(id string) error {
	b.mu.Lock()
	if t := b.known[id]; t != nil && t.proc.Exit != nil {
		t.close()
		delete(b.known, id)
	}
	b.mu.Unlock()
	var errs []error
	for _, path := range []string{b.logPath(id), b.errPath(id)} {
		errs = append(errs, removeIfThere(path), removeIfThere(path+oldSuffix))
	}
	return errors.Join(errs...)
}
