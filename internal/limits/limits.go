// Package limits puts the kernel's bounds into words: which one a failed call has reached, how much of it is in use, and
// the setting that raises it. It knows files, processes, memory and disks, and nothing of what runs into them.
package limits

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Reason is the stable name of a trouble, for programs.
type Reason string

// The reasons.
const (
	OpenFiles Reason = "open_files_exhausted"
	Processes Reason = "processes_exhausted"
	Memory    Reason = "memory_exhausted"
	Inotify   Reason = "inotify_exhausted"
	DiskFull  Reason = "disk_full"
	ReadOnly  Reason = "state_read_only"
)

// Trouble is a bound that was reached. Message names it, with its value, what is in use and what mends it.
type Trouble struct {
	Reason  Reason
	Message string
}

// Limit is one bound.
type Limit struct {
	Name string // as its setting is called, with whose it is
	Max  uint64
	Used uint64
	Mend string // what raises it
}

// Left is how much of a limit is not in use.
func (l Limit) Left() uint64 { return l.Max - min(l.Used, l.Max) }

func (l Limit) String() string {
	return fmt.Sprintf("%s is %d, and %d are in use", l.Name, l.Max, l.Used)
}

// Explain finds the bound that an error of a system call, or one that wraps it, is about; false if it is about none. uid
// is the user whose process could not be started; other errors do not need it.
func (k Kernel) Explain(err error, uid int) (Trouble, bool) {
	var at *fs.PathError
	path := ""
	if errors.As(err, &at) {
		path = at.Path
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		path = link.New
	}
	switch {
	case errors.Is(err, unix.EMFILE):
		return k.OpenFiles("this service"), true
	case errors.Is(err, unix.ENFILE):
		return k.openOnMachine(), true
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return diskFull(path, errors.Is(err, unix.EDQUOT)), true
	case errors.Is(err, unix.EROFS):
		return readOnly(path), true
	case errors.Is(err, unix.ENOMEM):
		return k.Memory(), true
	// The kernel says EAGAIN of many things; only of a fork, or of the exec after it, it means a limit.
	case errors.Is(err, unix.EAGAIN) && at != nil && at.Op == "fork/exec":
		return k.Processes(uid), true
	}
	return Trouble{}, false
}

// OpenFiles is about a process that may not open a further file. who is its name in the message.
func (k Kernel) OpenFiles(who string) Trouble {
	return Trouble{OpenFiles, fmt.Sprintf("%s has no file descriptor left: RLIMIT_NOFILE is %s for each process; %s",
		who, k.show(unix.RLIMIT_NOFILE), OpenFilesMend)}
}

// OpenFilesMend raises RLIMIT_NOFILE.
const OpenFilesMend = "raise it where the service is started: `LimitNOFILE=65536` in its systemd unit, or `ulimit -Hn 65536`"

// Inotify is about a user who may not have a further inotify instance, without one of which rathole exits.
func (k Kernel) Inotify() Trouble {
	value := "unknown"
	if n, err := k.number("/proc/sys/fs/inotify/max_user_instances"); err == nil {
		value = fmt.Sprint(n)
	}
	return Trouble{Inotify, fmt.Sprintf("no inotify instance is left for this user (fs.inotify.max_user_instances is %s), and rathole exits without one: %s",
		value, sysctl("fs.inotify.max_user_instances", 65536))}
}

func (k Kernel) openOnMachine() Trouble {
	l := Limit{Name: "fs.file-max", Mend: sysctl("fs.file-max", 2_000_000)}
	if text, err := k.ReadFile("/proc/sys/fs/file-nr"); err == nil {
		var free uint64
		_, _ = fmt.Sscan(string(text), &l.Used, &free, &l.Max) // what cannot be read stays 0, and is told so
	}
	return Trouble{OpenFiles, fmt.Sprintf("this machine can open no further file: %s; %s", l, l.Mend)}
}

// show gives a resource limit of this process in words.
func (k Kernel) show(resource int) string {
	n, err := k.Limit(resource)
	switch {
	case err != nil:
		return "unknown"
	case n == unix.RLIM_INFINITY:
		return "unlimited"
	}
	return fmt.Sprint(n)
}

// sysctl says how a setting of the kernel is made, and kept.
func sysctl(name string, value int) string {
	return fmt.Sprintf("run `sysctl -w %s=%d`, and write it into /etc/sysctl.d/90-rathole.conf to keep it", name, value)
}

// existing is path, or the nearest directory above it that is there.
func existing(path string) string {
	for {
		_, err := os.Stat(path)
		parent := filepath.Dir(path)
		if err == nil || parent == path {
			return path
		}
		path = parent
	}
}
