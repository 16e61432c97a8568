package engine

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/limits"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

const (
	// silentWithin is how soon an engine exits that gets no inotify instance; measured: 0.1 s.
	silentWithin = 5 * time.Second
	// filesToStart is how many descriptors rathole v0.5.0 needs until it watches its config: with 12 it exits as if there were
	// no inotify, with 13 it runs.
	filesToStart = 13
	// freshComplaint is how long a complaint of an engine that goes on counts: rathole repeats it several times a second.
	freshComplaint = 10 * time.Second
)

// What the system says in an engine's panics and log lines.
const (
	saysOpenFiles = "Too many open files"
	saysProcesses = "Resource temporarily unavailable"
	saysMemory    = "Cannot allocate memory"
	saysNoMemory  = "memory allocation of"
)

// ranOut finds in an engine's last words the limit of the machine that it ran into; nil if they tell of none. rathole aborts
// when it cannot start a thread.
func ranOut(words string, uid int) *supervisor.Failure {
	if uid == 0 {
		uid = os.Geteuid()
	}
	kernel := limits.This()
	switch {
	case strings.Contains(words, saysOpenFiles):
		return failure(kernel.OpenFiles("rathole"))
	case strings.Contains(words, saysProcesses) && strings.Contains(words, "spawn"):
		return failure(kernel.Processes(uid))
	case strings.Contains(words, saysMemory), strings.Contains(words, saysNoMemory):
		return failure(kernel.Memory())
	}
	return nil
}

func failure(t limits.Trouble) *supervisor.Failure {
	return &supervisor.Failure{Reason: string(t.Reason), Message: t.Message}
}

// withoutInotify is why an engine has ended, or would end, without a word: rathole has no inotify instance. The kernel also
// gives none to a process that may open no further file.
func withoutInotify() *supervisor.Failure {
	kernel := limits.This()
	if n, err := kernel.Limit(unix.RLIMIT_NOFILE); err == nil && n < filesToStart {
		return failure(kernel.OpenFiles("rathole"))
	}
	return failure(kernel.Inotify())
}

// noInotify tells which limit kept this service itself from an inotify instance.
func noInotify() *supervisor.Failure {
	f, err := os.Open(os.DevNull)
	if errors.Is(err, unix.EMFILE) {
		return failure(limits.This().OpenFiles("this service"))
	}
	if err == nil {
		_ = f.Close()
	}
	return failure(limits.This().Inotify())
}

// asFailure keeps a cause that has a name already.
func asFailure(reason string, err error) *supervisor.Failure {
	var f *supervisor.Failure
	if errors.As(err, &f) {
		return f
	}
	if trouble, found := limits.This().Explain(err, os.Geteuid()); found {
		return failure(trouble)
	}
	return &supervisor.Failure{Reason: reason, Message: err.Error()}
}

// Complains finds in the log of an engine that runs the limit that it runs into now; nil if there is none. It goes on, and
// serves no further player until it gets what it lacks.
func Complains(p supervisor.Process) *supervisor.Failure {
	info, err := os.Stat(p.Log)
	if fresh := err == nil && time.Since(info.ModTime()) <= freshComplaint; !fresh {
		return nil // of a thousand engines hardly one has written anything of late
	}
	lines, _ := rathole.TailLog(p.Log, 20) // a log that cannot be read has nothing to add
	complains := slices.ContainsFunc(lines, func(text string) bool {
		line := rathole.ParseLine(text)
		return strings.Contains(line.Text, saysOpenFiles) && line.Time.After(p.StartedAt) && time.Since(line.Time) < freshComplaint
	})
	if !complains {
		return nil
	}
	kernel := limits.This()
	kernel.Limit = func(resource int) (uint64, error) {
		var its unix.Rlimit
		err := unix.Prlimit(p.PID, resource, nil, &its)
		return its.Cur, err
	}
	f := failure(kernel.OpenFiles("rathole"))
	f.Message = fmt.Sprintf("rathole runs as process %d and takes no further connection: %s", p.PID, f.Message)
	return f
}
