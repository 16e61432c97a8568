package manager_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// aloneWithDisks is testkit.Alone for tests that mount disks.
func aloneWithDisks(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small disk of its own")
	}
	return testkit.Alone(t, true)
}

// fill takes all that is left of a disk, and returns what gives it back.
func fill(t *testing.T, disk string) func() {
	t.Helper()
	path := filepath.Join(disk, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// keep gives back n blocks of 4 KiB of a disk that was filled.
func keep(t *testing.T, disk string, n int64) {
	t.Helper()
	path := filepath.Join(disk, "ballast")
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()-n*4096)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestStateDiskFull creates, changes and removes on a disk that has no block left, then one, two and so on. A create that
// fails leaves nothing, a change leaves the instance as it was with its engine, and a removal goes all the same.
func TestStateDiskFull(t *testing.T) {
	if !aloneWithDisks(t) {
		return
	}
	disk, logs := testkit.Disk(t, "size=8m"), testkit.StateDir(t)
	m := testkit.StartManager(t, func(c *manager.Config) { c.State, c.Logs = disk, logs })
	mustCreate(t, m, one("before", 30000, api.TCP))
	before := pid(t, m, "before")
	empty := fill(t, disk)
	refusals := 0
	for ; refusals < 10; refusals++ {
		if got := testkit.Curl(t, "POST", m.URL+"/api/instances", refused, auth); got.Status == 201 {
			break
		}
		mustRefuse(t, m, api.CodeDiskFull, "the disk of "+disk, "bytes", "RATHOLE_STATE_DIR")
		keep(t, disk, 1)
	}
	t.Logf("refused with 0 to %d blocks left", refusals-1)
	if refusals == 0 || refusals == 10 {
		t.Errorf("refused %d times", refusals)
	}
	empty()
	if err := m.Delete(t.Context(), "refused"); err != nil {
		t.Error(err)
	}

	fill(t, disk)
	update := `{"services": {"game": {"protocols": ["tcp"], "local_port": 7777, "public_port": 30005}}}`
	testkit.Curl(t, "PUT", m.URL+"/api/instances/before", update, auth).MustBe(t, 507, api.CodeDiskFull)
	if now, err := m.Get(t.Context(), "before"); err != nil || now.Revision != 1 || now.Services["game"].PublicPort != 30000 || now.Status != api.StatusInactive {
		t.Errorf("%v %+v", err, now)
	}
	if now := pid(t, m, "before"); now != before {
		t.Errorf("process %d has become %d", before, now)
	}
	if err := m.Delete(t.Context(), "before"); err != nil {
		t.Errorf("a removal on a full disk: %v", err)
	}
	if units, err := os.ReadDir(filepath.Join(disk, "instances")); err != nil || len(units) != 0 {
		t.Errorf("%v %v", err, units)
	}
	if syscall.Kill(before, 0) == nil {
		t.Errorf("process %d lives", before)
	}
}

// TestAConfigThatCannotBeWritten changes an instance whose record can be written and whose config cannot. Its engine goes on
// with the old one, says so, and gets the new one as soon as that can be written.
func TestAConfigThatCannotBeWritten(t *testing.T) {
	if !aloneWithDisks(t) {
		return
	}
	m := testkit.StartManager(t, nil)
	mustCreate(t, m, one("before", 30000, api.TCP))
	before := pid(t, m, "before")
	mend := readOnly(t, filepath.Join(m.State, "instances", "before", "conf"))
	for _, update := range []string{
		`{"services": {"game": {"protocols": ["tcp"], "local_port": 7777, "public_port": 30005}}}`,
		`{"transport": "noise", "services": {"game": {"protocols": ["tcp"], "local_port": 7777, "public_port": 30005}}}`, // no reload can do it
	} {
		testkit.Curl(t, "PUT", m.URL+"/api/instances/before", update, auth).MustBe(t, 507, api.CodeStateReadOnly)
		if c := running(t, m, "before"); c.Reason != string(api.CodeStateReadOnly) || !strings.Contains(c.Message, "goes on as it was") {
			t.Errorf("%+v", c)
		}
		if now := pid(t, m, "before"); now != before {
			t.Errorf("process %d has become %d", before, now)
		}
	}
	mend()
	wait.Eventually(t, 30*time.Second, func() error {
		if c := running(t, m, "before"); c.Reason != "running" {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	config, err := os.ReadFile(filepath.Join(m.State, "instances", "before", "conf", "server.toml"))
	if err != nil || !strings.Contains(string(config), ":30005") || !strings.Contains(string(config), "noise") {
		t.Errorf("%v %s", err, config)
	}
}

// readOnly makes a directory read-only for all who open something in it from now on, and returns what undoes that.
func readOnly(t *testing.T, dir string) func() {
	t.Helper()
	err := unix.Mount(dir, dir, "", unix.MS_BIND, "")
	if err == nil {
		err = unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
	if err != nil {
		t.Fatalf("make %s read-only: %v", dir, err)
	}
	return func() {
		t.Helper()
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("make %s writable: %v", dir, err)
		}
	}
}

// TestNoInodeLeft creates on a disk that has blocks and no inode, then one, two and so on.
func TestNoInodeLeft(t *testing.T) {
	if !aloneWithDisks(t) {
		return
	}
	disk, logs := testkit.Disk(t, "size=64m,nr_inodes=64"), testkit.StateDir(t)
	m := testkit.StartManager(t, func(c *manager.Config) { c.State, c.Logs = disk, logs })
	mustCreate(t, m, one("before", 30000, api.TCP))
	ballast := filepath.Join(disk, "ballast")
	if err := os.Mkdir(ballast, 0o700); err != nil {
		t.Fatal(err)
	}
	var spent []string
	for {
		path := filepath.Join(ballast, fmt.Sprint(len(spent)))
		f, err := os.Create(path)
		if err != nil {
			break
		}
		_ = f.Close()
		spent = append(spent, path)
	}
	refusals := 0
	for ; refusals < 10; refusals++ {
		if got := testkit.Curl(t, "POST", m.URL+"/api/instances", refused, auth); got.Status == 201 {
			break
		}
		mustRefuse(t, m, api.CodeDiskFull, "the disk of "+disk, "inode")
		if err := os.Remove(spent[refusals]); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("refused with 0 to %d inodes left", refusals-1)
	if refusals == 0 || refusals == 10 {
		t.Errorf("refused %d times", refusals)
	}
}

// TestStateReadOnly makes the disk of the records read-only, as the kernel does after an error of it. What runs is known,
// shown and taken over by the next manager; what would have to be written is refused; and all is well once it is mended.
func TestStateReadOnly(t *testing.T) {
	if !aloneWithDisks(t) {
		return
	}
	disk, logs := testkit.Disk(t, "size=8m"), testkit.StateDir(t)
	config := func(c *manager.Config) { c.State, c.Logs, c.StopOnExit = disk, logs, false }
	m := testkit.StartManager(t, config)
	made := mustCreate(t, m, one("before", 30000, api.TCP))
	before := pid(t, m, "before")
	m.Shutdown(t)
	mend := readOnly(t, disk)
	m = testkit.StartManager(t, func(c *manager.Config) { config(c); c.StopOnExit, c.Bind = true, m.Bind })
	if now := pid(t, m, "before"); now != before {
		t.Errorf("process %d has become %d", before, now)
	}
	mustRefuse(t, m, api.CodeStateReadOnly, disk, "mount -o remount,rw "+disk, "dmesg")
	update := `{"services": {"game": {"protocols": ["tcp"], "local_port": 7777, "public_port": 30005}}}`
	testkit.Curl(t, "PUT", m.URL+"/api/instances/before", update, auth).MustBe(t, 507, api.CodeStateReadOnly)
	testkit.Curl(t, "DELETE", m.URL+"/api/instances/before", "", auth).MustBe(t, 507, api.CodeStateReadOnly)
	if now, err := m.Get(t.Context(), "before"); err != nil || now.UID != made.UID || now.Revision != 1 || now.Status != api.StatusInactive {
		t.Errorf("%v %+v", err, now)
	}
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 10*time.Second, func() error { // what it needs is on the disk already
		if c := running(t, m, "before"); c.Status != api.True || strings.Contains(c.Message, fmt.Sprint("process ", before)) {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	mend()
	mustCreate(t, m, one("after", 30002, api.TCP))
}

// TestLogDiskFull fills the disk of the logs before one engine starts, and while another runs. Both live: rathole aborts
// when it can write neither of its two outputs. What an engine said at its end is known all the same.
func TestLogDiskFull(t *testing.T) {
	if !aloneWithDisks(t) {
		return
	}
	logs := testkit.Disk(t, "size=1m,nr_inodes=64")
	m := testkit.StartManager(t, func(c *manager.Config) { c.Logs, c.BackoffMin = logs, 20*time.Second })
	mustCreate(t, m, one("before", 30000, api.TCP))
	before := pid(t, m, "before")
	empty := fill(t, logs)
	mustCreate(t, m, one("after", 30002, api.TCP))
	after := pid(t, m, "after")
	for _, id := range []string{"before", "after"} {
		c := running(t, m, id)
		if c.Status != api.True || c.Reason != "log_not_written" || !strings.Contains(c.Message, "the disk of "+logs+" is full") || !strings.Contains(c.Message, "RATHOLE_LOG_DIR") {
			t.Errorf("%+v", c)
		}
		i, err := m.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		// Its log may have room in its last block; what it says of a line that could not be written is not on a disk.
		memory := fmt.Sprintf("/proc/%d/fd/2", pid(t, m, id))
		wait.Eventually(t, 5*time.Second, func() error {
			makeItLog(t, m, i)
			said, err := os.ReadFile(memory)
			if err == nil && strings.Count(string(said), "No space left on device") < 3 {
				err = fmt.Errorf("the engine has said %q", said)
			}
			return err
		})
	}
	if a, b := pid(t, m, "before"), pid(t, m, "after"); a != before || b != after {
		t.Errorf("processes %d and %d have become %d and %d", before, after, a, b)
	}
	if err := syscall.Kill(after, syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 10*time.Second, func() error {
		if c := running(t, m, "after"); c.Status != api.False || !strings.Contains(c.Message, "No space left on device") {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	empty()
	if c := running(t, m, "before"); c.Reason != "running" {
		t.Errorf("%+v", c)
	}
}

// makeItLog hangs up on an engine's control port in the middle of a hello, of which it writes a line.
func makeItLog(t *testing.T, m *testkit.Manager, i api.Instance) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: i.RatholePort, Addr: m.Bind.As4()})
	if err == nil {
		_, err = unix.Write(fd, []byte{1})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestNoLogAtAll takes the log directory away, and puts a file in its place. Engines start and say that they have no log.
func TestNoLogAtAll(t *testing.T) {
	t.Parallel()
	logs := filepath.Join(testkit.StateDir(t), "log")
	if err := os.WriteFile(logs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m := testkit.StartManager(t, func(c *manager.Config) { c.Logs = logs })
	mustCreate(t, m, one("quiet", 30000, api.TCP))
	if c := running(t, m, "quiet"); c.Status != api.True || c.Reason != "log_not_written" || !strings.Contains(c.Message, logs) {
		t.Errorf("%+v", c)
	}
	if err := os.Remove(logs); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Create(t.Context(), one("loud", 30002, api.TCP), client.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if c := running(t, m, "loud"); c.Reason != "running" {
		t.Errorf("%+v", c)
	}
	if err := m.Delete(t.Context(), "quiet"); err != nil {
		t.Error(err)
	}
}
