package manager_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/again"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// TestInotifyLimitOfOneUser asks for 160 instances whose engines share one user that may have 128 inotify instances, the
// kernel's default; starts what there is with fewer, as after a reboot; kills all engines with fewer still; and raises the
// limit again each time. Nothing ever ends without its reason being told, and all comes back by itself.
//
// A user namespace has a limit of its own, which its root may set. What is taken in it counts for the user that made it, so
// that is nobody else's.
func TestInotifyLimitOfOneUser(t *testing.T) {
	t.Parallel()
	const user = 250020
	if !again.In(t, "user", again.Circumstances{User: user, Env: []string{"RATHOLE_BINARY=" + engineForAll(t)}}) ||
		!again.In(t, "root", again.Circumstances{Root: true}) {
		return
	}
	limit := 128
	if machine, err := strconv.Atoi(strings.TrimSpace(inotifyLimit(t, "fs/inotify/max_user_instances"))); err != nil || machine < limit {
		limit = machine
	}
	total := limit * 5 / 4
	setInotify(t, limit)
	state, bind := testkit.StateDir(t), testkit.Address(t)
	open := func() *testkit.Manager {
		return testkit.StartManager(t, func(c *manager.Config) { c.State, c.Bind, c.BackoffMin = state, bind, 100*time.Millisecond })
	}
	m := open()
	for n := range total {
		body := fmt.Sprintf(`{"server_id": "srv-%03d", "services": {"game": {"protocols": ["udp"], "local_port": 7777}}}`, n)
		got := testkit.Curl(t, "POST", m.URL+"/api/instances", body, auth)
		if n < limit && got.Status != 201 {
			t.Fatalf("instance %d: %d %s", n+1, got.Status, got.Body)
		}
		if n >= limit {
			got.MustBe(t, 507, api.CodeInotifyExhausted)
		}
	}
	mustRun(t, m, limit, limit)
	if ports, err := m.Ports(t.Context()); err != nil || ports.Control.Allocated != limit || ports.Public.Allocated != limit {
		t.Errorf("%v: %d control ports, %d public ports", err, ports.Control.Allocated, ports.Public.Allocated)
	}
	for _, dir := range []string{"instances", "log"} {
		names, err := filepath.Glob(filepath.Join(state, dir, "srv-*"))
		for _, name := range names {
			if n, err := strconv.Atoi(filepath.Base(name)[4:7]); err != nil || n >= limit {
				t.Errorf("%v: left is %s", err, name)
			}
		}
		if err != nil || len(names) < limit {
			t.Errorf("%v: %d in %s", err, len(names), dir)
		}
	}

	m.Shutdown(t)
	setInotify(t, limit*3/4)
	m = open()
	mustRun(t, m, limit*3/4, limit)
	testkit.Curl(t, "POST", m.URL+"/api/instances", `{"server_id": "refused", "game_port": 30002}`, auth).MustBe(t, 507, api.CodeInotifyExhausted)
	setInotify(t, limit)
	mustRun(t, m, limit, limit)

	setInotify(t, limit/2)
	for _, i := range mustList(t, m) {
		if err := syscall.Kill(pid(t, m, i.ServerID), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, m, limit/2, limit)
	setInotify(t, limit)
	mustRun(t, m, limit, limit)
}

// mustRun waits until so many of all instances run, and each of the others says what it wants for.
func mustRun(t *testing.T, m *testkit.Manager, count, all int) {
	t.Helper()
	wait.Eventually(t, time.Minute, func() error {
		running, list := 0, mustList(t, m)
		for _, i := range list {
			c := i.Conditions[0]
			switch {
			case i.Status == api.StatusInactive && c.Type == api.ProcessRunning && c.Status == api.True:
				running++
			case i.Status != api.StatusDown || c.Reason != string(api.CodeInotifyExhausted) || !strings.Contains(c.Message, "fs.inotify.max_user_instances"):
				return fmt.Errorf("%s is %s: %+v", i.ServerID, i.Status, c)
			}
		}
		if running != count || len(list) != all {
			return fmt.Errorf("%d of %d run, expected are %d of %d", running, len(list), count, all)
		}
		return nil
	})
}

func mustList(t *testing.T, m *testkit.Manager) []api.Instance {
	t.Helper()
	list, err := m.List(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func inotifyLimit(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc/sys", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// setInotify sets the limit of this user namespace.
func setInotify(t *testing.T, limit int) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/user/max_inotify_instances", []byte(strconv.Itoa(limit)), 0); err != nil {
		t.Skipf("no limit of its own: %v", err)
	}
}

// engineForAll is rathole where every user can run it.
func engineForAll(t *testing.T) string {
	t.Helper()
	program, err := os.ReadFile(testkit.Rathole(t))
	path := filepath.Join(testkit.StateDir(t), "rathole")
	if err == nil {
		err = os.WriteFile(path, program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}
