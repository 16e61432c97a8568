// Package again runs a test once more, alone in a process of its own, under circumstances that a test program cannot give
// itself: other namespaces, another user, fewer capabilities. It needs nothing of this module.
package again

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Circumstances are what the process has of its own. All but those of User and Root take the privileges of root.
type Circumstances struct {
	Mounts bool // a mount namespace: what it mounts is seen by nobody else, and goes with it
	PIDs   bool // a PID namespace, and with it Mounts and a /proc of its own: all that is left is killed at the end
	// Network is a network namespace with nothing in it but a loopback device, which is up.
	Network bool
	Root    bool // a user namespace in which it is root, and of which its user out there pays the quotas
	User    int  // the user that it runs as; 0: the same
	// Without are capabilities (unix.CAP_...) that neither it nor what it starts can ever have.
	Without []int
	// Timeout is how long it may take. 0: five minutes.
	Timeout time.Duration
	Env     []string // more variables, as in os.Environ
}

// childTimeout bounds the life of a process whose test program has ended before it.
const childTimeout = 5 * time.Minute

// In returns true in a process with these circumstances. In the test program itself it runs that process, takes over its
// verdict (also that it skips) and returns false: the test is done.
//
//	if !again.In(t, "unprivileged", again.Circumstances{User: 250000}) {
//		return
//	}
//
// name tells one call from another, nested one of the same test. In a test with subtests it stands before them.
func In(t *testing.T, name string, c Circumstances) bool {
	t.Helper()
	variable := "AGAIN_" + name
	if os.Getenv(variable) == t.Name() {
		c.prepare(t)
		return true
	}
	if c.privileged() && os.Geteuid() != 0 {
		t.Skip("this needs root")
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = childTimeout
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+timeout.String())
	cmd.Env = append(os.Environ(), variable+"="+t.Name(), "GORACE=atexit_sleep_ms=0")
	cmd.Env = append(cmd.Env, c.Env...)
	cmd.SysProcAttr = c.attributes()
	if c.User != 0 {
		cmd.Path = reachable(t, c.User)
		cmd.Env = append(cmd.Env, "TMPDIR="+filepath.Dir(cmd.Path))
		cmd.Dir = filepath.Dir(cmd.Path)
	}
	said, err := c.run(cmd)
	switch {
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC):
		t.Skipf("this machine lets nobody here do that: %v", err)
	case err != nil || !strings.Contains(said, "--- "):
		t.Fatalf("%s: %v\n%s", name, err, said)
	case strings.Contains(said, "--- SKIP: "+t.Name()+" "):
		t.Skip(said)
	case testing.Verbose():
		t.Log(said)
	}
	return false
}

func (c Circumstances) privileged() bool {
	return c.Mounts || c.PIDs || c.Network || c.User != 0 || len(c.Without) > 0
}

func (c Circumstances) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	if c.Mounts || c.PIDs {
		attr.Unshareflags = syscall.CLONE_NEWNS // which also takes its mounts out of all propagation
	}
	if c.Network {
		attr.Unshareflags |= syscall.CLONE_NEWNET
	}
	if c.PIDs {
		attr.Cloneflags |= syscall.CLONE_NEWPID
	}
	if c.Root {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	if c.User != 0 {
		attr.Credential = &syscall.Credential{Uid: uint32(c.User), Gid: uint32(c.User)}
	}
	return attr
}

// run runs the process from a thread of its own: what a bounding set has lost it never gets back, and a child has its
// parent thread's. The goroutine does not unlock the thread, which therefore ends with it.
func (c Circumstances) run(cmd *exec.Cmd) (said string, err error) {
	var text strings.Builder
	cmd.Stdout, cmd.Stderr = &text, &text
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		for _, capability := range c.Without {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0); err != nil {
				started <- err
				return
			}
		}
		started <- cmd.Start()
	}()
	if err := <-started; err != nil {
		return "", err
	}
	err = cmd.Wait()
	return text.String(), err
}

// prepare does, in the new process, what only it can do.
func (c Circumstances) prepare(t *testing.T) {
	t.Helper()
	if c.Network {
		if err := loopbackUp(); err != nil {
			t.Fatalf("bring lo up: %v", err)
		}
	}
	if !c.PIDs {
		return
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		t.Fatalf("mount /proc: %v", err)
	}
}

// loopbackUp sets the flag that ip link set lo up sets.
func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request)
}

// reachable puts this test program where another user can run it, in a directory that belongs to that user: what the go
// command builds lies below one that is closed to others.
func reachable(t *testing.T, user int) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, user, user); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "test")
	if err := link("/proc/self/exe", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// link makes a hard link of a program, or a copy where that is not possible.
func link(from, to string) error {
	from, err := os.Readlink(from)
	if err != nil {
		return err
	}
	if os.Link(from, to) == nil {
		return nil
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
