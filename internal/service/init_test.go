package service

import (
	"bufio"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// asInit is the environment variable that makes this test program an init whose worker is the shell script in it. An init
// reaps whatever there is, which would take the children of every other test.
const asInit = "TEST_AS_INIT"

func TestMain(m *testing.M) {
	script := os.Getenv(asInit)
	if script == "" {
		os.Exit(m.Run())
	}
	// A subreaper is given the orphans among its descendants, as process 1 is.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	i, err := newInit(20*time.Millisecond, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		panic(err)
	}
	i.path, i.args, i.grace = "/bin/sh", []string{"sh", "-c", script}, time.Second
	os.Exit(i.run())
}

// initRun is an init as a process of its own.
type initRun struct {
	*exec.Cmd
	lines <-chan string // what its workers say
	ended chan struct{}
}

func startInit(t *testing.T, script string) *initRun {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r := &initRun{Cmd: exec.Command(path), ended: make(chan struct{})}
	// Files, not writers: what a worker leaves behind must not keep Wait waiting.
	r.Env, r.Stdout = append(os.Environ(), asInit+"="+script), in
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	r.Stderr = log
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	lines := make(chan string, 1000)
	r.lines = lines
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
		close(lines)
	}()
	go func() {
		defer close(r.ended)
		_ = r.Wait() // its exit code is what tests look at
	}()
	t.Cleanup(func() {
		children, _ := childrenOf(r.Process.Pid)
		_ = r.Process.Kill()
		for _, pid := range children {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		_ = out.Close()
		for range r.lines { // until nobody reads any more
		}
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the init says:\n%s", text)
		}
		_ = log.Close()
	})
	return r
}

// next is the next number that a worker says.
func (r *initRun) next(t *testing.T) int {
	t.Helper()
	select {
	case line := <-r.lines:
		n, err := strconv.Atoi(line)
		if err != nil {
			t.Fatalf("a worker says %q", line)
		}
		return n
	case <-time.After(10 * time.Second):
		t.Fatal("no worker says anything")
		return 0
	}
}

func (r *initRun) signal(t *testing.T, pid int, sig unix.Signal) {
	t.Helper()
	if err := unix.Kill(pid, sig); err != nil {
		t.Fatalf("%s to %d: %v", unix.SignalName(sig), pid, err)
	}
}

func (r *initRun) mustEnd(t *testing.T, code int, within time.Duration) {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(within):
		t.Fatalf("it does not end within %s", within)
	}
	if got := r.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
	if !gone(r.Process.Pid) {
		t.Error("it is still there")
	}
}

func gone(pid int) bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) }

// TestInitRestartsTheWorker kills the worker, each of which leaves an orphan that lives on and one that ends at once.
func TestInitRestartsTheWorker(t *testing.T) {
	t.Parallel()
	r := startInit(t, `trap 'exit 7' TERM; sleep 1000 & echo $!; (sleep 0.01 & echo $!); echo $$; while :; do sleep 0.01; done`)
	var orphans, brief []int
	for range 5 {
		orphans, brief = append(orphans, r.next(t)), append(brief, r.next(t))
		worker := r.next(t)
		r.signal(t, worker, unix.SIGKILL)
		wait.Eventually(t, 10*time.Second, func() error { return goneOr(worker) })
	}
	for range 2 {
		r.next(t) // the last worker's sleeps
	}
	worker := r.next(t)
	for _, pid := range brief {
		wait.Eventually(t, 10*time.Second, func() error { return goneOr(pid) }) // a zombie would be there for ever
	}
	for _, pid := range orphans {
		if gone(pid) {
			t.Error("an orphan ended with its worker")
		}
	}
	r.signal(t, r.Process.Pid, unix.SIGTERM)
	r.mustEnd(t, 7, 30*time.Second)
	for _, pid := range append(orphans, worker) {
		if !gone(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
}

func goneOr(pid int) error {
	if !gone(pid) {
		return errors.New("process " + strconv.Itoa(pid) + " is still there")
	}
	return nil
}

// TestInitSurvivesSignals sends what would end any other program.
func TestInitSurvivesSignals(t *testing.T) {
	t.Parallel()
	r := startInit(t, `trap 'exit 0' INT; echo $$; while :; do sleep 0.01; done`)
	worker := r.next(t)
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE, unix.SIGALRM, unix.SIGABRT, unix.SIGTRAP, unix.SIGSYS, unix.SIGTSTP, unix.SIGXCPU, unix.Signal(40)} {
		r.signal(t, r.Process.Pid, sig)
	}
	r.signal(t, worker, unix.SIGKILL)
	if another := r.next(t); another == worker {
		t.Error("no new worker")
	}
	r.signal(t, r.Process.Pid, unix.SIGINT)
	r.mustEnd(t, 0, 30*time.Second)
}

func TestInitEnds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		script string
		signal unix.Signal // once the worker has said its number; 0: none
		code   int
		within time.Duration
	}{
		"with what a refusing worker says": {`echo $$; exit 1`, 0, 1, 30 * time.Second},
		"in spite of a deaf worker":        {`trap '' INT TERM; sleep 1000 & echo $$; while :; do sleep 0.01; done`, unix.SIGTERM, 128 + 9, 30 * time.Second},
		"in spite of a deaf orphan":        {`(trap '' INT TERM; exec sleep 1000) & trap 'exit 3' TERM; echo $$; while :; do sleep 0.01; done`, unix.SIGTERM, 3, 30 * time.Second},
		"in spite of a stopped orphan":     {`sleep 1000 & kill -STOP $!; trap 'exit 3' TERM; echo $$; while :; do sleep 0.01; done`, unix.SIGTERM, 3, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startInit(t, tc.script)
			r.next(t)
			if tc.signal != 0 {
				r.signal(t, r.Process.Pid, tc.signal)
			}
			r.mustEnd(t, tc.code, tc.within)
			// Whoever is left holds the pipe open.
			select {
			case _, more := <-r.lines:
				if more {
					t.Error("another worker was started")
				}
			case <-time.After(30 * time.Second):
				t.Error("something is left")
			}
		})
	}
}

// TestInitKeepsARefusingWorkersEngines starts a worker again that refuses as long as there are children to adopt, and is
// told to end while there is no worker: the children end, and the last worker's code is the init's.
func TestInitKeepsARefusingWorkersEngines(t *testing.T) {
	t.Parallel()
	r := startInit(t, `sleep 1000 & echo $!; echo $$; exit 1`)
	var children []int
	for range 5 {
		children = append(children, r.next(t))
		worker := r.next(t)
		wait.Eventually(t, 10*time.Second, func() error { return goneOr(worker) })
	}
	// Now there is no worker: the next one would be started in 320 ms.
	r.signal(t, r.Process.Pid, unix.SIGTERM)
	r.mustEnd(t, 1, 30*time.Second)
	for _, pid := range children {
		if !gone(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
}

func TestWorkerMark(t *testing.T) {
	t.Parallel()
	r := startInit(t, `trap 'exit 0' TERM; echo $PPID; echo $`+workerMark+`; while :; do sleep 0.01; done`)
	if parent, mark := r.next(t), r.next(t); parent != r.Process.Pid || mark != parent {
		t.Errorf("parent %d, mark %d, init %d", parent, mark, r.Process.Pid)
	}
	if isWorker() {
		t.Error("a program that no init started takes itself for a worker")
	}
	r.signal(t, r.Process.Pid, unix.SIGTERM)
	r.mustEnd(t, 0, 30*time.Second)
}

func TestPauses(t *testing.T) {
	t.Parallel()
	i := &initProcess{pause: restartPause, next: restartPause}
	var got []string
	for _, lived := range []time.Duration{0, 59 * time.Second, 0, 0, 0, 0, 0, time.Minute, 0, time.Hour} {
		got = append(got, i.nextPause(lived).String())
	}
	if want := "1s 2s 4s 8s 16s 30s 30s 1s 2s 1s"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// TestStartOfAWorkerThatIsNotThere retries instead of ending.
func TestStartOfAWorkerThatIsNotThere(t *testing.T) {
	t.Parallel()
	i := &initProcess{path: t.TempDir() + "/none", args: []string{"none"}, log: slog.New(slog.DiscardHandler)}
	if err := i.start(); err == nil || i.worker != 0 {
		t.Errorf("%v, worker %d", err, i.worker)
	}
}
