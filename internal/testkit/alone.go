package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// aloneVariable holds the name of the test that a process was started for.
const aloneVariable = "TESTKIT_ALONE"

// Alone runs the calling test a second time, in a process of its own, in which it may change what all tests of a process
// share: its limits, its cgroup, and with mounts (which needs root) what is mounted where. It returns true there. In the
// first process it fails or skips as the other did, and returns false.
func Alone(t *testing.T, mounts bool) bool {
	t.Helper()
	if os.Getenv(aloneVariable) == t.Name() {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), aloneVariable+"="+t.Name())
	if mounts {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	}
	said, err := cmd.CombinedOutput()
	if err != nil || testing.Verbose() {
		t.Logf("%s", said)
	}
	switch {
	case err != nil:
		t.Errorf("in a process of its own: %v", err)
	case strings.Contains(string(said), "--- SKIP: "+t.Name()+" "):
		t.Skipf("in a process of its own it was skipped:\n%s", said)
	}
	return false
}

// Disk mounts a small disk of its own in a temporary directory, for a test that is Alone with its mounts. options are those
// of tmpfs, such as "size=1m,nr_inodes=20".
func Disk(t *testing.T, options string) string {
	t.Helper()
	dir := StateDir(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0711,"+options); err != nil {
		t.Fatalf("mount a disk: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// Cgroup moves this process, for a test that is Alone, into a cgroup of its own that has a controller such as "pids", and
// returns the cgroup's directory. The test is skipped where no cgroup can be made.
func Cgroup(t *testing.T, controller string) string {
	t.Helper()
	members, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skipf("no cgroups: %v", err)
	}
	own := ""
	for line := range strings.Lines(string(members)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case slices.Contains(strings.Split(parts[1], ","), controller): // version 1
			own = filepath.Join("/sys/fs/cgroup", controller, parts[2])
		case parts[1] == "" && own == "": // version 2
			own = filepath.Join("/sys/fs/cgroup", parts[2])
		}
	}
	group := filepath.Join(own, "rathole-test-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("no cgroup can be made: %v", err)
	}
	enter := func(group string) error {
		return os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0)
	}
	t.Cleanup(func() {
		if err := enter(own); err != nil {
			t.Errorf("leave the cgroup: %v", err)
		}
		if err := os.Remove(group); err != nil {
			t.Errorf("remove the cgroup: %v", err)
		}
	})
	if err := enter(group); err != nil {
		t.Skipf("the cgroup cannot be entered: %v", err)
	}
	return group
}
