package doctor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	inotifyFile    = "/proc/sys/fs/inotify/max_user_instances"
	pidMaxFile     = "/proc/sys/kernel/pid_max"
	threadsMaxFile = "/proc/sys/kernel/threads-max"

	inotifyMend = "run `sysctl -w fs.inotify.max_user_instances=65536`, and write `fs.inotify.max_user_instances = 65536` into " +
		"/etc/sysctl.d/90-rathole.conf to keep it"

	// inotifyEnough is where a shared limit of inotify instances is no longer warned of: eight times the kernel's default.
	inotifyEnough = 1024
	// filesOfUnit is how many descriptors the service holds for a unit: its process and its lock, one more while it is written.
	filesOfUnit = 3
	// filesOfService is what the service needs for itself: API connections, netlink, its own files.
	filesOfService = 64
	// filesEnough is where a limit of open files is no longer warned of: 320 units.
	filesEnough = 1024
	// threadsOfUnit is what an engine runs with: two workers, the main and a watching thread.
	threadsOfUnit = 4
	// threadsEnough is where a limit of processes is no longer warned of: 1,000 units.
	threadsEnough = 1000 * threadsOfUnit
)

// unreadable is the finding of a check whose facts could not be had.
func unreadable(check string, err error) Finding {
	return Finding{Check: check, Status: Warn, Value: "unknown: " + err.Error(), Mend: "let this user read it, and run doctor again"}
}

// checkInotify is about the limit that makes engines exit with code 0 and without a word. own tells whether each unit has
// a user of its own, whose quota nobody shares.
func checkInotify(sys System, watches, own bool, units uint64) Finding {
	f := Finding{Check: "inotify instances", Status: OK}
	if !watches {
		f.Value = "not needed by this engine"
		return f
	}
	limit, err := sys.Number(inotifyFile)
	if err != nil {
		return unreadable(f.Check, err)
	}
	if own && limit > 0 {
		f.Value = fmt.Sprintf("%d for each user, and every engine has a user of its own", limit)
		return f
	}
	f.Value = fmt.Sprintf("%d for all engines together: enough for fewer than %d", limit, max(limit, 1))
	switch err := sys.TakeInotify(); {
	case err != nil:
		f.Status, f.Value, f.Mend = Fail, fmt.Sprintf("%d, and none is left: engines exit as they start", limit), inotifyMend
	case limit <= units:
		f.Status, f.Mend = Fail, fmt.Sprintf("there are %d records: %s", units, inotifyMend)
	case limit < inotifyEnough:
		f.Status, f.Mend = Warn, inotifyMend
	}
	return f
}

func checkOpenFiles(sys System, units uint64) Finding {
	f := Finding{Check: "open files", Status: OK}
	limit, err := sys.Limit(unix.RLIMIT_NOFILE)
	if err != nil {
		return unreadable(f.Check, err)
	}
	enough := (max(limit, filesOfService) - filesOfService) / filesOfUnit
	f.Value = fmt.Sprintf("%s: enough for %s engines", amount(limit), amount(enough))
	const mend = "raise it where the service is started: `LimitNOFILE=65536` in its systemd unit, or `ulimit -Hn 65536`"
	switch {
	case enough < units:
		f.Status, f.Mend = Fail, fmt.Sprintf("there are %d records: %s", units, mend)
	case limit < filesEnough:
		f.Status, f.Mend = Warn, mend
	}
	return f
}

// checkProcesses finds the lowest of the limits of threads. The one per user does not bind root.
func checkProcesses(sys System, units uint64) Finding {
	f := Finding{Check: "processes and threads", Status: OK}
	var (
		lowest     uint64
		name, mend string
	)
	consider := func(limit uint64, its, how string) {
		if name == "" || limit < lowest {
			lowest, name, mend = limit, its, how
		}
	}
	for _, l := range []struct{ file, name string }{{pidMaxFile, "kernel.pid_max"}, {threadsMaxFile, "kernel.threads-max"}} {
		n, err := sys.Number(l.file)
		if err != nil {
			return unreadable(f.Check, err)
		}
		consider(n, l.name, fmt.Sprintf("run `sysctl -w %s=131072`, and write it into /etc/sysctl.d/90-rathole.conf to keep it", l.name))
	}
	if sys.UID != 0 {
		n, err := sys.Limit(unix.RLIMIT_NPROC)
		if err != nil {
			return unreadable(f.Check, err)
		}
		consider(n, "ulimit -u", "raise it where the service is started: `LimitNPROC=65536` in its systemd unit, or in /etc/security/limits.conf")
	}
	f.Value = fmt.Sprintf("%s (%s): enough for fewer than %s engines", amount(lowest), name, amount(lowest/threadsOfUnit))
	switch {
	case lowest/threadsOfUnit < units:
		f.Status, f.Mend = Fail, fmt.Sprintf("there are %d records: %s", units, mend)
	case lowest < threadsEnough:
		f.Status, f.Mend = Warn, mend
	}
	return f
}

// amount writes a limit; RLIM_INFINITY and what comes of dividing it is no number to read.
func amount(n uint64) string {
	if n > 1<<40 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}
