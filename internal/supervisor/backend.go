package supervisor

import (
	"context"
	"fmt"
	"time"
)

// Unit is what a Backend runs: one program on one config file.
type Unit struct {
	ID      string
	Program string // path of the executable
	Config  string // text of the config file, written before the start
	UnixUID int    // user and group of the process; 0: this service's own
}

// Process is a unit's process as the Backend sees it, running or ended.
type Process struct {
	ID        string
	PID       int
	Program   string // path that it was started by, of which it may since have become another; empty if that is not known
	StartedAt time.Time
	Adopted   bool   // started by an earlier run of this service
	Log       string // path of its standard output
	LogOffset int64  // size of Log at the start: what comes after it is this process's
	ErrLog    string // path of its standard error, there once it has ended: start-up panics are told only there
	// LogTrouble is why its standard output is not kept: the log could not be opened when it started. Empty: it is.
	LogTrouble string
	Exit       *Exit // nil while it runs
}

// Exit is how a process ended.
type Exit struct {
	Known  bool // false for an adopted process: only a parent learns the status
	Code   int  // exit code, or -1 when a signal ended it
	Signal string
	At     time.Time
	// OOMKills is how many processes the kernel has killed for want of memory shortly before: this one may be among them.
	OOMKills uint64
}

// String says it in words that follow "the process".
func (e *Exit) String() string {
	switch {
	case e == nil:
		return "is gone"
	case !e.Known:
		return "ended (an earlier run of this service had started it, so its exit status is unknown)"
	case e.Signal != "":
		return "was ended by " + e.Signal
	default:
		return fmt.Sprintf("exited with code %d", e.Code)
	}
}

// Backend runs processes. It is told what to run and knows nothing of records.
type Backend interface {
	// Start runs a unit, and never a second copy of it: ErrRunning if the unit's process lives.
	Start(ctx context.Context, u Unit) (Process, error)
	// WriteConfig replaces a unit's config file in one step, for a process that re-reads it.
	WriteConfig(u Unit) error
	// ReadConfig returns the config file that a unit's process was given last.
	ReadConfig(id string) (string, error)
	// Stop ends a unit's process and returns once it is proven gone; nil if there is none.
	Stop(ctx context.Context, id string) error
	// Clean removes what a stopped unit leaves outside its directory: its logs.
	Clean(id string) error
	// Tidy is called from time to time: it keeps what processes write on their own, their logs, within bounds.
	Tidy() error
	// Process returns a unit's process, the last one if it has ended; false if there never was one.
	Process(id string) (Process, bool)
	// Frozen lists the units whose process exists and is stopped: by SIGSTOP, or by a debugger.
	Frozen() []string
	// List finds what really runs, strangers included, never from our own records, and takes it over.
	List(ctx context.Context) ([]Process, error)
	// Events hints that a unit's process ended. Process and List are the truth.
	Events() <-chan string
	// Close lets go of the processes without disturbing them.
	Close() error
}

// Rules tells the supervisor what the units of one service are. Its methods are called from the reconciler, for one unit
// at a time but for many units at once.
type Rules[S any] interface {
	// Program is the executable to run.
	Program(rec Record[S]) (string, error)
	// Preflight says, before a start, why it cannot succeed. A *Failure keeps its reason.
	Preflight(ctx context.Context, rec Record[S]) error
	// Ready tells whether a process that was just started serves. It is asked every millisecond or so.
	Ready(ctx context.Context, rec Record[S], p Process) (bool, error)
	// Diagnose gives the cause of an exit, from what the process left behind.
	Diagnose(rec Record[S], p Process) *Failure
	// Reload hands a running process its new config: it calls swap, which replaces the file, and reports whether the
	// process took it. False asks for a restart.
	Reload(ctx context.Context, rec Record[S], p Process, old string, swap func() error) (bool, error)
}

// Failure is why a unit does not run: Reason for programs, Message for people.
type Failure struct {
	Reason  string
	Message string
}

// Error implements error.
func (f *Failure) Error() string { return f.Message }
