package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// Start implements supervisor.Backend.
func (b *Backend) Start(_ context.Context, u supervisor.Unit) (supervisor.Process, error) {
	lock, err := b.lock(u.ID, os.O_CREATE)
	if errors.Is(err, supervisor.ErrRunning) {
		return supervisor.Process{}, errors.Join(err, b.takeOver(u.ID))
	}
	if err != nil {
		return supervisor.Process{}, err
	}
	// Our copy goes after the fork; the child's keeps the lock. Closing does not unlock: the lock belongs to the open
	// file, which the child shares.
	defer func() { _ = lock.Close() }()
	// A disk that is full or read-only does not keep a unit from starting on what it has.
	if !b.hasConfig(u) {
		if err := b.WriteConfig(u); err != nil {
			return supervisor.Process{}, err
		}
	}
	b.cfg.Crash("process.configured")
	proc, err := b.bear(u, lock)
	if err != nil {
		return supervisor.Process{}, err
	}
	if err := b.writeRun(proc); err != nil {
		b.cfg.Log.Warn("note the process", "id", u.ID, "error", err)
	}
	return proc, nil
}

// bear starts the process and makes it known.
func (b *Backend) bear(u supervisor.Unit, lock *os.File) (supervisor.Process, error) {
	b.births.RLock()
	defer b.births.RUnlock()
	t, err := b.spawn(u, lock)
	if err != nil {
		return supervisor.Process{}, err
	}
	b.cfg.Crash("process.spawned")
	proc := t.proc // the watcher writes into t from now on
	b.track(t)
	return proc, nil
}

// spawn starts the process with exactly the descriptors that it needs.
func (b *Backend) spawn(u supervisor.Unit, lock *os.File) (*tracked, error) {
	proc := supervisor.Process{ID: u.ID, Program: u.Program, Log: b.logPath(u.ID), ErrLog: b.errPath(u.ID)}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }()
	out, err := b.openLog(proc.Log)
	switch {
	case outOfFiles(err):
		return nil, err // the process could not be started either, a moment later
	case err != nil:
		b.cfg.Log.Error("the engine runs without a log", "id", u.ID, "error", err)
		out, proc.LogTrouble = null, err.Error()
	default:
		defer func() { _ = out.Close() }()
		if info, err := out.Stat(); err == nil {
			proc.LogOffset = info.Size()
		}
	}
	// What an earlier process said of its end must not be taken for this one's.
	if err := os.WriteFile(proc.ErrLog, nil, 0o600); err != nil {
		b.cfg.Log.Debug("forget the last process's words", "id", u.ID, "error", err)
	}
	memory, err := newStderr()
	if outOfFiles(err) {
		return nil, err
	}
	errs := memory
	if err != nil {
		b.cfg.Log.Warn("the engine's standard error is not kept", "id", u.ID, "error", err)
		errs = null
	}

	pidfd := -1
	child, err := os.StartProcess(u.Program, []string{u.Program, b.cfg.Flag, b.configPath(u.ID)}, &os.ProcAttr{
		Dir:   "/",
		Env:   b.cfg.Env,
		Files: []*os.File{null, out, errs, lock},
		// No Pdeathsig: it fires when the thread that forked ends, not the process.
		Sys: b.attributes(u, &pidfd),
	})
	if err != nil {
		if memory != nil {
			_ = memory.Close()
		}
		return nil, fmt.Errorf("start %s: %w", u.Program, err)
	}
	proc.PID, proc.StartedAt = child.Pid, time.Now()
	// It is inherited: a service that is protected from the kernel's choice of victim must not protect its engines with it.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", child.Pid), []byte("0"), 0); err != nil {
		b.cfg.Log.Debug("set the engine's oom_score_adj", "id", u.ID, "error", err) // only the privileged may lower it
	}
	handle, err := pollable(pidfd)
	if err != nil {
		// Without a handle it could not be watched; a process that nobody watches must not exist.
		err = errors.Join(err, child.Kill(), discardState(child.Wait()))
		if memory != nil {
			_ = memory.Close()
		}
		return nil, err
	}
	return &tracked{proc: proc, pidfd: handle, child: child, errs: memory, ended: make(chan struct{})}, nil
}

// attributes are a session of its own, the pidfd, and for a unit with a user of its own that user and no other group.
func (b *Backend) attributes(u supervisor.Unit, pidfd *int) *syscall.SysProcAttr {
	sys := &syscall.SysProcAttr{Setsid: true, PidFD: pidfd}
	if u.UnixUID != 0 {
		sys.Credential = &syscall.Credential{Uid: uint32(u.UnixUID), Gid: uint32(u.UnixUID)}
		if b.cfg.LowPorts {
			sys.AmbientCaps = []uintptr{unix.CAP_NET_BIND_SERVICE}
		}
	}
	return sys
}

func discardState(_ *os.ProcessState, err error) error { return err }
