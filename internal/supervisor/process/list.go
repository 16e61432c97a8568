package process

import (
	"context"
	"fmt"
	"os"
	"strconv"
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
		if p, known := b.Process(id); known && p.PID == pid {
			found = append(found, p)
			continue
		}
		if p, ok := b.adopt(id, pid); ok {
			found = append(found, p)
		}
	}
	return found, nil
}

// adopt takes over a process that an earlier run of this service started. The handle is opened first and the identity
// read afterwards: as long as the handle says that its process lives, what was read of the pid was read of it.
func (b *Backend) adopt(id string, pid int) (supervisor.Process, bool) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return supervisor.Process{}, false // gone meanwhile
	}
	handle, err := pollable(fd)
	if err != nil {
		return supervisor.Process{}, false
	}
	named, ok := b.unitOf(commandLine(pid))
	if !ok || named != id || !holds(pid, lockFD, b.lockPath(id)) || exited(handle) {
		_ = handle.Close()
		return supervisor.Process{}, false
	}
	p := supervisor.Process{ID: id, PID: pid, StartedAt: time.Now(), Adopted: true, Log: b.logPath(id), ErrLog: b.errPath(id)}
	if r, ok := b.readRun(id, pid); ok {
		p.StartedAt = r.StartedAt
	} else if err := b.writeRun(p); err != nil { // its parent was killed before it could note the process
		b.cfg.Log.Warn("note the adopted process", "id", id, "error", err)
	}
	b.track(&tracked{proc: p, pidfd: handle, ended: make(chan struct{})})
	return p, true
}
