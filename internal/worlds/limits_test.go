package worlds_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/agent"
	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/again"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// TestInotifySpent spends the inotify instances of the clients' user, and ends a client: it cannot come back until some are
// free again, and says so.
func TestInotifySpent(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("without root the engines' user is the tests' own, and every other test would be refused as well")
	}
	const user = 251000 // nobody else's
	w := newWorld(t, false, func(c *agent.Config) { c.UIDs = supervisor.UIDRange{Base: user, Count: 1} })
	release := spendInotify(t, user)
	defer release()
	w.signal("agent", syscall.SIGKILL)
	// The engine's own instance is given back a moment after its end.
	var more []func()
	giveBack := func() {
		for _, release := range more {
			release()
		}
	}
	defer giveBack()
	wait.Eventually(t, told, func() error {
		more = append(more, spendInotify(t, user))
		return w.sees(expected{"agent", api.StatusDown, api.ProcessRunning, "inotify_exhausted"})
	})
	giveBack()
	release()
	w.mustComeBack(back)
	w.mustBeUntouched()
}

// spendInotify opens inotify instances as a user until that user has none left, and returns what gives them back.
func spendInotify(t *testing.T, uid int) func() {
	t.Helper()
	var spent []int
	done := make(chan error, 1)
	go func() {
		// The system call, unlike Go's wrapper, changes the user of this one thread. The goroutine ends without unlocking it,
		// and so the thread ends with it.
		runtime.LockOSThread()
		const unchanged = ^uintptr(0)
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, unchanged, uintptr(uid), unchanged); errno != 0 {
			done <- errno
			return
		}
		for {
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
			if err != nil {
				if errors.Is(err, unix.EMFILE) {
					err = nil
				}
				done <- err
				return
			}
			spent = append(spent, fd)
		}
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return func() {
		for _, fd := range spent {
			_ = unix.Close(fd)
		}
		spent = nil
	}
}

// TestLogDiskFull fills the disk of the agent's logs: the tunnels serve, a client that ends comes back without a log, and the
// status says so until there is room.
func TestLogDiskFull(t *testing.T) {
	t.Parallel()
	if !again.In(t, "mounts", again.Circumstances{Mounts: true}) {
		return
	}
	logs := testkit.Disk(t, "size=1m")
	w := newWorld(t, false, func(c *agent.Config) { c.Logs = logs })
	full := filepath.Join(logs, "something else")
	fill(t, full)
	wait.Eventually(t, told, func() error {
		return w.sees(expected{"agent", api.StatusHealthy, api.ProcessRunning, "log_not_written"})
	})
	w.signal("agent", syscall.SIGKILL)
	wait.Eventually(t, told, func() error {
		return w.sees(expected{"agent", api.StatusDown, api.ProcessRunning, "exited"})
	})
	w.mustComeBack(back)
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, back, func() error { return w.sees(expected{"agent", api.StatusHealthy, api.ProcessRunning, "running"}) })
	w.mustBeUntouched()
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for {
		if _, err := f.Write(make([]byte, 512)); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
