package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// List implements supervisor.Backend. It reads the command line of every process on the machine, and takes over those
// that name a config of ours and hold that unit's lock; a person's own `rathole -s <that config>` holds none.
func (b *Backend) List(ctx context.Context) ([]supervisor.Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("read /proc: %w", err)
	}
	var found []supervisor.Process
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		id, ok := b.unitOf(commandLine(pid))
		if !ok {
			continue
		}
		p, ok, err := b.adopt(id, pid)
		if err != nil {
			b.cfg.Log.Error("a running engine cannot be taken over yet", "id", id, "pid", pid, "error", err)
		}
		if ok {
			found = append(found, p)
		}
	}
	return found, nil
}

// takeOver looks for a unit's process once more, which could not be taken over when this service started.
func (b *Backend) takeOver(id string) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("read /proc: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if named, ok := b.unitOf(commandLine(pid)); !ok || named != id {
			continue
		}
		if _, ok, err := b.adopt(id, pid); ok || err != nil {
			return err
		}
	}
	return nil
}

// adopt takes over a process that an earlier run of this service started, unless it is known already. The handle is opened
// first and the identity read afterwards: as long as the handle says that its process lives, what was read of the pid was
// read of it.
func (b *Backend) adopt(id string, pid int) (supervisor.Process, bool, error) {
	b.births.Lock()
	defer b.births.Unlock()
	if p, known := b.Process(id); known && (p.PID == pid || p.Exit == nil) {
		return p, p.PID == pid, nil
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return supervisor.Process{}, false, nil // gone meanwhile
	}
	if err != nil {
		return supervisor.Process{}, false, fmt.Errorf("open process %d: %w", pid, err)
	}
	handle, err := pollable(fd)
	if err != nil {
		return supervisor.Process{}, false, err
	}
	named, ok := b.unitOf(commandLine(pid))
	if !ok || named != id || !b.isOurs(id, pid) || exited(handle) {
		_ = handle.Close()
		return supervisor.Process{}, false, nil
	}
	p := supervisor.Process{ID: id, PID: pid, StartedAt: time.Now(), Adopted: true, Log: b.logPath(id), ErrLog: b.errPath(id)}
	if r, ok := b.readRun(id, pid); ok {
		p.StartedAt = r.StartedAt
	} else if err := b.writeRun(p); err != nil { // its parent was killed before it could note the process
		b.cfg.Log.Warn("note the adopted process", "id", id, "error", err)
	}
	if name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/1", pid)); err == nil && name == os.DevNull {
		p.LogTrouble = "its log could not be opened when it was started"
	}
	b.track(&tracked{proc: p, pidfd: handle, errs: stderrOf(pid), ended: make(chan struct{})})
	return p, true, nil
}

// Running finds, by their command lines alone and without taking anything over, the processes that run on configs below
// units, for one who only looks: unit ids by pid.
func Running(units, flag, configName string) (map[int]string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("read /proc: %w", err)
	}
	b := Backend{cfg: Config{Units: units, Flag: flag, ConfigName: configName}}
	found := map[int]string{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if id, ok := b.unitOf(commandLine(pid)); ok {
			found[pid] = id
		}
	}
	return found, nil
}

// isOurs tells whether a process, which names a unit's config on its command line, holds that unit's lock: the proof that
// it was started by a service like this one. There are three cases. The lock's file exists: it must be the very file that
// the process has open. The unit's directory was moved or removed under its process: the open file still has the name. Or
// this service may not look into the process, for it lacks CAP_SYS_PTRACE: then the process must run as the user that the
// unit's config was given to, and somebody must hold the lock.
func (b *Backend) isOurs(id string, pid int) bool {
	open := fmt.Sprintf("/proc/%d/fd/%d", pid, lockFD)
	var held, file unix.Stat_t
	heldErr, fileErr := unix.Stat(open, &held), unix.Stat(b.lockPath(id), &file)
	switch {
	case heldErr == nil && fileErr == nil:
		return held.Dev == file.Dev && held.Ino == file.Ino
	case heldErr == nil || errors.Is(heldErr, unix.ENOENT):
		name, err := os.Readlink(open)
		return err == nil && errors.Is(fileErr, unix.ENOENT) && filepath.Base(strings.TrimSuffix(name, " (deleted)")) == lockFile
	default:
		return fileErr == nil && sameUser(pid, filepath.Dir(b.configPath(id))) && b.isLocked(id)
	}
}

// sameUser tells whether a process belongs to the owner of a file.
func sameUser(pid int, path string) bool {
	var process, file unix.Stat_t
	return unix.Stat(fmt.Sprintf("/proc/%d", pid), &process) == nil && unix.Stat(path, &file) == nil && process.Uid == file.Uid
}

// isLocked tells whether a process holds a unit's lock.
func (b *Backend) isLocked(id string) bool {
	lock, err := b.tryLock(id, 0)
	if err == nil {
		_ = lock.Close()
	}
	return errors.Is(err, supervisor.ErrRunning)
}
