package manager_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/fakeengine"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// TestInotifyExhausted spends the inotify instances of the user that the engines run as. rathole then exits with code 0 and
// no word of why: the create is refused by name all the same, and leaves nothing.
func TestInotifyExhausted(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("without root the engines' user is the tests' own, and every other test would be refused as well")
	}
	for user, binary := range map[int]string{250000: testkit.Rathole(t), 250001: fakeengine.Build(t)} { // nobody else's users
		t.Run(fmt.Sprint(user), func(t *testing.T) {
			t.Parallel()
			exhaust(t, user, binary)
		})
	}
}

func exhaust(t *testing.T, user int, binary string) {
	m := testkit.StartManager(t, func(c *manager.Config) { c.UIDs, c.Binary = supervisor.UIDRange{Base: user, Count: 1}, binary })
	mustCreate(t, m, one("before", 30000, api.TCP))
	release := spendInotify(t, user)
	defer release()
	got := testkit.Curl(t, "POST", m.URL+"/api/instances", `{"server_id": "refused", "game_port": 30002}`, auth)
	if p := got.MustBe(t, 507, api.CodeInotifyExhausted); !strings.Contains(p.Detail, "fs.inotify.max_user_instances is "+limit(t)) {
		t.Errorf("the setting and its value are not named: %s", p.Detail)
	}
	list, err := m.List(t.Context(), "", "")
	if err != nil || len(list) != 1 || list[0].Status != api.StatusInactive {
		t.Errorf("%v %+v", err, list)
	}
	ports, err := m.Ports(t.Context())
	if err != nil || ports.Control.Allocated != 1 {
		t.Errorf("%v %+v", err, ports.Control)
	}
	release()
	mustCreate(t, m, one("after", 30002, api.TCP))
}

// limit is how many inotify instances a user may have.
func limit(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// spendInotify opens inotify instances as a user until that user has none left, and returns what gives them back.
func spendInotify(t *testing.T, uid int) func() {
	t.Helper()
	var (
		spent []int
		done  = make(chan error, 1)
	)
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
			fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC)
			if errors.Is(err, syscall.EMFILE) {
				err = nil
			}
			if err != nil || fd < 0 {
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
			_ = syscall.Close(fd)
		}
		spent = nil
	}
}
