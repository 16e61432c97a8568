package process

import (
	"bytes"
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
	if err := removeIfThere(b.nextConfigPath(id)); err != nil {
		b.cfg.Log.Warn("remove a config that was never put in place", "id", id, "error", err)
	}
	p := supervisor.Process{ID: id, PID: pid, StartedAt: time.Now(), Adopted: true, Log: b.logPath(id), ErrLog: b.errPath(id)}
	if r, ok := b.readRun(id, pid); ok {
		p.StartedAt, p.Program = r.StartedAt, r.Program
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
// it was started by a service like this one. There are three cases. The lock is that of the file in the unit's directory.
// That directory was moved, removed or replaced under its process, by a backup for example: the open file still has the
// name. Or this service may not look into the process, for it lacks CAP_SYS_PTRACE: then the process must run as the user
// that the unit's config was given to, somebody must hold the lock, and it must not be known that another one does.
func (b *Backend) isOurs(id string, pid int) bool {
	var held, file unix.Stat_t
	heldErr, fileErr := unix.Stat(fdPath(pid), &held), unix.Stat(b.lockPath(id), &file)
	switch {
	case errors.Is(heldErr, unix.ENOENT):
		return false
	case heldErr != nil:
		return fileErr == nil && sameUser(pid, filepath.Dir(b.configPath(id))) && b.isLocked(id) && !b.isAnother(id, pid)
	case fileErr == nil && sameFile(held, file):
		return holdsLock(pid)
	default:
		return b.wasOurs(id, pid) && !b.isLocked(id)
	}
}

func fdPath(pid int) string { return fmt.Sprintf("/proc/%d/fd/%d", pid, lockFD) }

func sameFile(a, b unix.Stat_t) bool { return a.Dev == b.Dev && a.Ino == b.Ino }

// holdsLock tells whether a process holds a lock on the file that it has open where a unit's process has its own: to have
// the file open is not enough.
func holdsLock(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, lockFD))
	return err == nil && bytes.Contains(text, []byte("FLOCK"))
}

// wasOurs tells whether a process holds the lock of a unit whose directory is no longer the one that it knew. The name of
// its open file ends in <id>/run.lock wherever that is now. In a container the same names mean other files: there the
// process sees another directory at the place of ours.
func (b *Backend) wasOurs(id string, pid int) bool {
	name, err := os.Readlink(fdPath(pid))
	if err != nil || !strings.HasSuffix(strings.TrimSuffix(name, " (deleted)"), filepath.Join("/", id, lockFile)) {
		return false
	}
	var its, ours unix.Stat_t
	err = errors.Join(unix.Stat(fmt.Sprintf("/proc/%d/root%s", pid, b.cfg.Units), &its), unix.Stat(b.cfg.Units, &ours))
	return err == nil && sameFile(its, ours) && holdsLock(pid)
}

// isAnother tells whether run.json names a process that lives, and is not this one.
func (b *Backend) isAnother(id string, pid int) bool {
	noted, err := b.noted(id)
	if err != nil || noted.PID == pid || noted.BootID != b.boot {
		return false
	}
	ticks, err := startTicks(noted.PID)
	return err == nil && ticks == noted.StartTicks
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
