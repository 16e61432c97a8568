package manager_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

const refused = `{"server_id": "refused", "game_port": 30002}`

// mustRefuse asks for an instance that cannot be had, and checks that the answer says why, and that nothing is left.
func mustRefuse(t *testing.T, m *testkit.Manager, code api.Code, says ...string) {
	t.Helper()
	p := testkit.Curl(t, "POST", m.URL+"/api/instances", refused, auth).MustBe(t, 507, code)
	for _, word := range says {
		if !strings.Contains(p.Detail, word) {
			t.Errorf("it does not say %q: %s", word, p.Detail)
		}
	}
	mustHaveLeftNothing(t, m)
}

// mustHaveLeftNothing looks for what a refused create may leave: a record, a directory, a port, a log.
func mustHaveLeftNothing(t *testing.T, m *testkit.Manager) {
	t.Helper()
	list, err := m.List(t.Context(), "", "")
	if err != nil || len(list) != 1 || list[0].ServerID != "before" {
		t.Errorf("%v %+v", err, list)
	}
	if units, err := os.ReadDir(filepath.Join(m.State, "instances")); err != nil || len(units) != 1 {
		t.Errorf("%v: there are %v", err, units)
	}
	if ports, err := m.Ports(t.Context()); err != nil || ports.Control.Allocated != 1 {
		t.Errorf("%v %+v", err, ports.Control)
	}
}

// running gives the condition of an instance's engine.
func running(t *testing.T, m *testkit.Manager, id string) api.Condition {
	t.Helper()
	i, err := m.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range i.Conditions {
		if c.Type == api.ProcessRunning {
			return c
		}
	}
	t.Fatalf("%+v", i)
	return api.Condition{}
}

// pid is the process of an instance that runs.
func pid(t *testing.T, m *testkit.Manager, id string) int {
	t.Helper()
	var pid int
	c := running(t, m, id)
	_, after, _ := strings.Cut(c.Message, "process ")
	if _, err := fmt.Sscan(strings.TrimRight(strings.Fields(after + " none")[0], ","), &pid); err != nil || c.Status != api.True {
		t.Fatalf("%v: %+v", err, c)
	}
	return pid
}

// spendFiles opens files until this process may open no more, and returns what closes some of them, or all.
func spendFiles(t *testing.T) func(n int) {
	t.Helper()
	var spent []int
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		spent = append(spent, fd)
	}
	return func(n int) {
		for range min(n, len(spent)) {
			_ = unix.Close(spent[0])
			spent = spent[1:]
		}
	}
}

// limitFiles gives this process, and what it starts, a limit of open files.
func limitFiles(t *testing.T, n uint64) {
	t.Helper()
	// Go raised the soft limit, and gives children the old one unless it is told another.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		t.Fatal(err)
	}
}

// TestOpenFilesExhausted creates with no descriptor left, then with one, two and so on, until it succeeds. Whatever step it
// fails at, it says why and leaves nothing.
func TestOpenFilesExhausted(t *testing.T) {
	if !testkit.Alone(t, false) {
		return
	}
	limitFiles(t, 200)
	m := testkit.StartManager(t, nil)
	mustCreate(t, m, one("before", 30000, api.TCP))
	before := pid(t, m, "before")
	testkit.Curl(t, "GET", m.URL+"/ready", "") // a connection that is kept: none can be made later
	release := spendFiles(t)
	refusals := 0
	for ; refusals < 30; refusals++ {
		got := testkit.Curl(t, "POST", m.URL+"/api/instances", refused, auth)
		if got.Status == 201 {
			break
		}
		if p := got.MustBe(t, 507, api.CodeOpenFilesExhausted); !strings.Contains(p.Detail, "RLIMIT_NOFILE is 200") || !strings.Contains(p.Detail, "LimitNOFILE=") {
			t.Errorf("it says %s", p.Detail)
		}
		if units, err := os.ReadDir(filepath.Join(m.State, "instances")); refusals > 0 && (err != nil || len(units) != 1) {
			t.Errorf("with %d left: %v %v", refusals, err, units)
		}
		release(1)
	}
	t.Logf("refused with 0 to %d descriptors left", refusals-1)
	if refusals < 5 || refusals == 30 {
		t.Errorf("refused %d times", refusals)
	}
	release(1000)
	if now := pid(t, m, "before"); now != before {
		t.Errorf("process %d has become %d", before, now)
	}
	if err := m.Delete(t.Context(), "refused"); err != nil {
		t.Error(err)
	}
	mustHaveLeftNothing(t, m)
}

// TestTheAPIOutlivesWantOfFiles asks over a new connection, which nobody can accept until there is a descriptor again.
func TestTheAPIOutlivesWantOfFiles(t *testing.T) {
	if !testkit.Alone(t, false) {
		return
	}
	limitFiles(t, 200)
	m := testkit.StartManager(t, nil)
	answered := make(chan int, 1)
	var releases []func(int)
	for try := 0; ; try++ {
		release := spendFiles(t)
		releases = append(releases, release)
		release(1) // for the caller's own end
		go func() { answered <- testkit.Curl(t, "GET", m.URL+"/ready", "", "Connection: close").Status }()
		select {
		case status := <-answered:
			if try == 5 {
				t.Fatalf("answered %d without a descriptor", status)
			}
			continue // on one that the service had meanwhile, for a look at the sockets, and gave back
		case <-time.After(300 * time.Millisecond): // what must not happen cannot be awaited
		}
		break
	}
	for _, release := range releases {
		release(1000)
	}
	select {
	case status := <-answered:
		if status != 200 {
			t.Errorf("answered %d", status)
		}
	case <-time.After(10 * time.Second):
		t.Error("the API does not answer any more")
	}
}

// TestAnEngineOutOfFiles takes away an engine's descriptors while it runs, and knocks at its control port. It goes on, and
// its status says what it lacks until it has it.
func TestAnEngineOutOfFiles(t *testing.T) {
	t.Parallel()
	// As this test's own user, whose limits it may change.
	m := testkit.StartManager(t, func(c *manager.Config) { c.UIDs = supervisor.UIDRange{} })
	made := mustCreate(t, m, one("short", 30000, api.TCP))
	engine := pid(t, m, "short")
	if err := unix.Prlimit(engine, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 20, Max: 20}, nil); err != nil {
		t.Skipf("the engine's limit cannot be changed: %v", err)
	}
	var knocking []int
	for range 40 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Connect(fd, &unix.SockaddrInet4{Port: made.RatholePort, Addr: m.Bind.As4()}) // under way
		knocking = append(knocking, fd)
	}
	wait.Eventually(t, 10*time.Second, func() error {
		c := running(t, m, "short")
		if c.Status != api.True || c.Reason != string(api.CodeOpenFilesExhausted) || !strings.Contains(c.Message, "RLIMIT_NOFILE is 20 ") {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	for _, fd := range knocking {
		_ = unix.Close(fd)
	}
	wait.Eventually(t, 30*time.Second, func() error {
		if c := running(t, m, "short"); c.Reason != "running" {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	if now := pid(t, m, "short"); now != engine {
		t.Errorf("process %d has become %d", engine, now)
	}
}

// pidsGroup moves this process into a cgroup of its own, and returns what sets its pids.max to what is in use and so many
// more, or with a negative number to no limit.
func pidsGroup(t *testing.T) func(more int) {
	t.Helper()
	group := testkit.Cgroup(t, "pids")
	return func(more int) {
		t.Helper()
		value := "max"
		if more >= 0 {
			text, err := os.ReadFile(filepath.Join(group, "pids.current"))
			if err != nil {
				t.Skipf("processes are not counted: %v", err)
			}
			now, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			value = strconv.Itoa(now + more)
		}
		if err := os.WriteFile(filepath.Join(group, "pids.max"), []byte(value), 0); err != nil {
			t.Skipf("no limit of processes can be set: %v", err)
		}
	}
}

// TestProcessesExhausted lets the service start no process, then one that can start no thread, and then asks for sixty at
// once, each of which would like a thread of the service. It lives, says what is the matter, and goes on once it may.
func TestProcessesExhausted(t *testing.T) {
	if !testkit.Alone(t, false) {
		return
	}
	set := pidsGroup(t)
	m := testkit.StartManager(t, nil)
	if err := service.KeepThreads(); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, m, one("before", 30000, api.TCP))
	for more := range 3 {
		set(more)
		mustRefuse(t, m, api.CodeProcessesExhausted, "pids.max of cgroup /", "in use", "TasksMax=")
	}
	set(0)
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			body := fmt.Sprintf(`{"server_id": "refused%d", "game_port": %d}`, i, 31000+i)
			testkit.Curl(t, "POST", m.URL+"/api/instances", body, auth).MustBe(t, 507, api.CodeProcessesExhausted)
		})
	}
	all.Wait()
	mustHaveLeftNothing(t, m)
	engine := pid(t, m, "before")
	if err := syscall.Kill(engine, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	set(0) // the engine's threads are gone from what is in use
	wait.Eventually(t, 10*time.Second, func() error {
		if c := running(t, m, "before"); c.Reason != string(api.CodeProcessesExhausted) {
			set(0)
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	set(-1)
	wait.Eventually(t, 30*time.Second, func() error {
		if c := running(t, m, "before"); c.Status != api.True {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
}

// TestTooFewThreadsToBegin starts a service that would die of its first requests.
func TestTooFewThreadsToBegin(t *testing.T) {
	if !testkit.Alone(t, false) {
		return
	}
	set := pidsGroup(t)
	set(8)
	if err := service.KeepThreads(); err == nil || !strings.Contains(err.Error(), "pids.max of cgroup /") {
		t.Errorf("it says %v", err)
	}
	set(-1)
}

// TestAUsersProcessesExhausted spends what the user of the engines may have of processes.
func TestAUsersProcessesExhausted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to run engines as a user of whom nothing else runs")
	}
	if !testkit.Alone(t, false) {
		return
	}
	const user = 250001
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 8, Max: limit.Max}); err != nil { // it does not bind root
		t.Fatal(err)
	}
	m := testkit.StartManager(t, func(c *manager.Config) { c.UIDs = supervisor.UIDRange{Base: user, Count: 1} })
	mustCreate(t, m, one("before", 30000, api.TCP)) // four threads
	mustRefuse(t, m, api.CodeProcessesExhausted, "RLIMIT_NPROC of user 250001 is 8", "LimitNPROC=")
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &limit); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, m, one("after", 30002, api.TCP))
}
