package service

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// workerMark is the environment variable by which a worker knows that an init started it: its value is the init's pid, so
// that it means nothing to anybody who only inherits it.
const workerMark = "RATHOLE_WORKER"

// isWorker tells whether this process is the worker of an init.
func isWorker() bool { return os.Getenv(workerMark) == strconv.Itoa(os.Getppid()) }

const (
	// restartPause is how long to wait before a worker that died is started again. It doubles with each death, up to
	// pauseLimit times that (30 s), and begins anew once a worker has lived for steadyLife times that (60 s).
	restartPause = time.Second
	pauseLimit   = 30
	steadyLife   = 60
	// wholeGrace is the time from SIGTERM to SIGKILL for all that still runs. Docker gives 10 s before it kills process 1,
	// and everybody else with it.
	wholeGrace = 8 * time.Second
	// killAgain is when the children of those that were killed, which have become ours, are killed too.
	killAgain = 500 * time.Millisecond
)

// exitRefused is the exit code of a program that has said why it cannot run. A Go program that crashes has 2.
const exitRefused = 1

// initProcess is process 1 of a container. The kernel ends every process of a container with its process 1, so that one
// must not be a service that may crash or be killed: it is this loop, which starts the service as a worker and starts it
// again whenever it dies. A dead worker's engines become children of process 1; it reaps them when they end, while the next
// worker adopts and watches them by their pidfds, which needs no parentage.
type initProcess struct {
	path  string   // the worker's program
	args  []string // its arguments, from its name on
	env   []string
	pause time.Duration // before the first restart
	grace time.Duration // from SIGTERM to SIGKILL
	log   *slog.Logger

	worker  int // pid; 0 while there is none
	started time.Time
	next    time.Duration   // the pause before the next restart
	last    unix.WaitStatus // of the worker that ended last
}

// newInit makes an init whose worker is this program with the same arguments. A pause of 0 is restartPause.
func newInit(pause time.Duration, log *slog.Logger) (*initProcess, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, to start it as worker: %w", err)
	}
	if pause <= 0 {
		pause = restartPause
	}
	return &initProcess{path: path, args: os.Args, env: os.Environ(), pause: pause, grace: wholeGrace, log: log}, nil
}

// run returns, with the worker's exit code, when the worker has been told to end and no child is left. All of it happens in
// one goroutine: a child is signalled by the only one who could reap it, so its pid cannot have become another's.
func (i *initProcess) run() int {
	// Everything is caught, and most of it goes nowhere: what is not caught would end the Go runtime. Ignoring would not do,
	// for the worker and its engines would inherit it. What matters has channels of its own, which the crowd cannot fill.
	unheard := make(chan os.Signal, 1)
	signal.Notify(unheard)
	defer signal.Stop(unheard)
	children := make(chan os.Signal, 1) // one is enough: it means "look", and we look at all of them
	signal.Notify(children, unix.SIGCHLD)
	defer signal.Stop(children)
	asked := make(chan os.Signal, 4)
	signal.Notify(asked, unix.SIGTERM, unix.SIGINT)
	defer signal.Stop(asked)

	i.next = i.pause
	start := time.NewTimer(0)
	defer start.Stop()
	for {
		select {
		case <-start.C:
			if err := i.start(); err != nil {
				pause := i.nextPause(0)
				i.log.Error("start the worker", "error", err, "next_try", pause)
				start.Reset(pause)
			}
		case <-children:
			had := i.worker
			left := i.reap()
			if had == 0 || i.worker != 0 {
				continue
			}
			if !left && i.last.Exited() && i.last.ExitStatus() == exitRefused {
				return exitRefused // it has said why; there are no engines to stay alive for
			}
			pause := i.nextPause(time.Since(i.started))
			i.log.Error("the worker ended unasked; engines go on, and the next one adopts them", "pid", had, "end", describe(i.last), "restart", pause)
			start.Reset(pause)
		case sig := <-asked:
			return i.finish(sig, asked, children)
		}
	}
}

// finish ends everything: the worker, which stops its engines, then whatever it leaves, and after the grace by force.
func (i *initProcess) finish(sig os.Signal, asked, children <-chan os.Signal) int {
	i.log.Info("stopping everything", "signal", sig)
	i.forward(sig)
	kill := time.NewTimer(i.grace)
	defer kill.Stop()
	for told := false; i.reap(); {
		if i.worker == 0 && !told {
			told = true
			i.signalChildren(unix.SIGINT) // which rathole ends on
		}
		select {
		case <-children:
		case sig := <-asked:
			i.forward(sig)
		case <-kill.C:
			i.signalChildren(unix.SIGKILL)
			kill.Reset(killAgain)
		}
	}
	if i.last.Signaled() {
		return 128 + int(i.last.Signal())
	}
	return i.last.ExitStatus()
}

// start starts the worker, in a process group of its own: what is typed at a terminal (Ctrl-C) reaches it through us alone,
// since twice would mean "at once". It bypasses os.StartProcess, whose handle on the child would be one more waiter for it.
func (i *initProcess) start() error {
	env := slices.DeleteFunc(slices.Clone(i.env), func(v string) bool { return strings.HasPrefix(v, workerMark+"=") })
	pid, err := syscall.ForkExec(i.path, i.args, &syscall.ProcAttr{
		Env:   append(env, workerMark+"="+strconv.Itoa(os.Getpid())),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return fmt.Errorf("run %s: %w", i.path, err)
	}
	i.worker, i.started = pid, time.Now()
	return nil
}

// nextPause is how long to wait before the restart of a worker that lived for so long.
func (i *initProcess) nextPause(lived time.Duration) time.Duration {
	if lived >= steadyLife*i.pause {
		i.next = i.pause
	}
	pause := i.next
	i.next = min(2*pause, pauseLimit*i.pause)
	return pause
}

// forward passes a signal on to the worker, if there is one.
func (i *initProcess) forward(sig os.Signal) {
	s, ok := sig.(unix.Signal)
	if !ok || i.worker == 0 {
		return
	}
	if err := unix.Kill(i.worker, s); err != nil {
		i.log.Error("forward a signal to the worker", "signal", sig, "error", err)
	}
}

// reap collects every child that has ended, our own and those that came to us, and tells whether any child is left.
func (i *initProcess) reap() (left bool) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return false // ECHILD, the only other error that Wait4 has here
		case pid == 0:
			return true
		case pid == i.worker:
			i.worker, i.last = 0, status
		}
	}
}

// signalChildren sends to every child that there is. Their children become ours when they end.
func (i *initProcess) signalChildren(sig unix.Signal) {
	pids, err := childrenOf(os.Getpid())
	if err != nil {
		i.log.Error("find the children", "error", err)
	}
	if len(pids) > 0 {
		i.log.Warn("stopping what the worker left", "processes", len(pids), "signal", unix.SignalName(sig))
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, sig); err != nil {
			i.log.Error("signal a child", "pid", pid, "signal", sig, "error", err)
		}
	}
}

func describe(status unix.WaitStatus) string {
	if status.Signaled() {
		return "killed by " + unix.SignalName(status.Signal())
	}
	return "exit code " + strconv.Itoa(status.ExitStatus())
}
