package doctor

import (
	"cmp"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/limits"
)

const (
	inotifyFile    = "/proc/sys/fs/inotify/max_user_instances"
	pidMaxFile     = "/proc/sys/kernel/pid_max"
	threadsMaxFile = "/proc/sys/kernel/threads-max"

	inotifyMend = "run `sysctl -w fs.inotify.max_user_instances=65536`, and write `fs.inotify.max_user_instances = 65536` into " +
		"/etc/sysctl.d/90-rathole.conf to keep it"

	// inotifyEnough is where a shared limit of inotify instances is no longer warned of: eight times the kernel's default.
	inotifyEnough = 1024
	// filesOfUnit is how many descriptors the service holds for a unit: two of its process and one of its standard error, and
	// one more while it is written.
	filesOfUnit = 4
	// filesOfService is what the service needs for itself: API connections, netlink, its own files.
	filesOfService = 64
	// filesEnough is where a limit of open files is no longer warned of: 240 units.
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
	switch {
	case enough < units:
		f.Status, f.Mend = Fail, fmt.Sprintf("there are %d records: %s", units, limits.OpenFilesMend)
	case limit < filesEnough:
		f.Status, f.Mend = Warn, limits.OpenFilesMend
	}
	return f
}

// checkThreads is about limits that count threads, of which the lowest binds.
func checkThreads(check string, all []limits.Limit, units uint64) Finding {
	f := Finding{Check: check, Status: OK}
	if len(all) == 0 {
		f.Value = "unlimited"
		return f
	}
	lowest := slices.MinFunc(all, func(a, b limits.Limit) int { return cmp.Compare(a.Max, b.Max) })
	f.Value = fmt.Sprintf("%s (%s), %d in use: enough for fewer than %s engines", amount(lowest.Max), lowest.Name, lowest.Used, amount(lowest.Max/threadsOfUnit))
	switch {
	case lowest.Left() < threadsOfUnit:
		f.Status, f.Mend = Fail, "no engine can be started: "+lowest.Mend
	case lowest.Max/threadsOfUnit < units:
		f.Status, f.Mend = Fail, fmt.Sprintf("there are %d records: %s", units, lowest.Mend)
	case lowest.Max < threadsEnough:
		f.Status, f.Mend = Warn, lowest.Mend
	}
	return f
}

// checkMachineThreads is about what all programs share.
func checkMachineThreads(sys System, units uint64) Finding {
	const check = "machine's threads"
	for _, file := range []string{pidMaxFile, threadsMaxFile} {
		if _, err := sys.Number(file); err != nil {
			return unreadable(check, err)
		}
	}
	return checkThreads(check, sys.kernel().MachineThreads(), units)
}

// checkUserThreads is about the user, or users, that the engines run as. own tells whether each has one of its own.
func checkUserThreads(sys System, own bool, units uint64) Finding {
	f := Finding{Check: "user's threads", Status: OK}
	limit, err := sys.kernel().UserThreads(sys.UID)
	switch {
	case err != nil:
		return unreadable(f.Check, err)
	case own:
		f.Value = fmt.Sprintf("%s (RLIMIT_NPROC) for each user, and every engine has a user of its own", amount(limit.Max))
		if limit.Max < threadsOfUnit {
			f.Status, f.Mend = Fail, fmt.Sprintf("an engine needs %d: %s", threadsOfUnit, limit.Mend)
		}
		return f
	case sys.UID == 0:
		f.Value = "unlimited for root"
		return f
	}
	return checkThreads(f.Check, []limits.Limit{limit}, units)
}

// kernel is the same view for what the services themselves ask when they run into a limit.
func (sys System) kernel() limits.Kernel {
	return limits.Kernel{ReadFile: sys.ReadFile, ReadDir: sys.ReadDir, Limit: sys.Limit}
}

// amount writes a limit; RLIM_INFINITY and what comes of dividing it is no number to read.
func amount(n uint64) string {
	if n > 1<<40 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}
