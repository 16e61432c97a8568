package limits

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// threadsOfProcess is what a program like rathole starts with: with fewer left, it is this limit that it has run into.
const threadsOfProcess = 5

// Processes is about a process, or a thread of it, that a user could not start. The kernel gives one error for four limits:
// the one of which the least is left is named.
func (k Kernel) Processes(uid int) Trouble {
	nearest := k.nearest(uid)
	if nearest.Left() > threadsOfProcess {
		return Trouble{Processes, fmt.Sprintf("the kernel starts no further process or thread, though the nearest of its limits is not reached now: %s; %s",
			nearest, nearest.Mend)}
	}
	return Trouble{Processes, fmt.Sprintf("no further process or thread can be started: %s; %s", nearest, nearest.Mend)}
}

// TooFew tells whether a user can start n more threads; the Trouble is the limit that forbids it.
func (k Kernel) TooFew(n uint64, uid int) (Trouble, bool) {
	nearest := k.nearest(uid)
	if nearest.Left() >= n {
		return Trouble{}, false
	}
	return Trouble{Processes, fmt.Sprintf("%d threads are needed to begin with: %s; %s", n, nearest, nearest.Mend)}, true
}

func (k Kernel) nearest(uid int) Limit {
	least := func(all []Limit) Limit {
		return slices.MinFunc(all, func(a, b Limit) int { return cmp.Compare(a.Left(), b.Left()) })
	}
	if of := least(append(k.GroupThreads(), k.MachineThreads()...)); of.Left() <= threadsOfProcess {
		return of // the user's would have to be counted, process by process
	}
	return least(k.Threads(uid))
}

// Threads lists the limits of processes, all of which count threads: that of each cgroup around this process, the machine's
// two, and the user's.
func (k Kernel) Threads(uid int) []Limit {
	all := append(k.GroupThreads(), k.MachineThreads()...)
	if uid == 0 {
		return all // which binds everybody but root
	}
	if user, err := k.UserThreads(uid); err == nil {
		all = append(all, user)
	}
	return all
}

// UserThreads is the limit of a user's threads.
func (k Kernel) UserThreads(uid int) (Limit, error) {
	n, err := k.Limit(unix.RLIMIT_NPROC)
	if err != nil {
		return Limit{}, err
	}
	return Limit{
		Name: fmt.Sprintf("RLIMIT_NPROC of user %d", uid), Max: n, Used: k.threadsOf(uid),
		Mend: "raise it where the service is started: `LimitNPROC=65536` in its systemd unit, or `ulimit -u 65536`",
	}, nil
}

// GroupThreads are the limits of the cgroups around this process, from the inside out; empty if none has one.
func (k Kernel) GroupThreads() []Limit {
	var all []Limit
	for _, g := range k.groups("pids") {
		n, err := k.number(g.dir + "/pids.max")
		if err != nil {
			continue // "max", or the root, which has no limit
		}
		used, err := k.number(g.dir + "/pids.current")
		if err != nil {
			continue
		}
		all = append(all, Limit{
			Name: "pids.max of cgroup " + g.name, Max: n, Used: used,
			Mend: "raise it: `TasksMax=infinity` in the service's systemd unit, or --pids-limit of its container",
		})
	}
	return all
}

// MachineThreads are the machine's two limits. One that cannot be read is unix.RLIM_INFINITY.
func (k Kernel) MachineThreads() []Limit {
	running := k.running()
	pids := Limit{Name: "kernel.pid_max", Max: k.orUnlimited("/proc/sys/kernel/pid_max"), Used: running, Mend: sysctl("kernel.pid_max", 131072)}
	if pids.Used > pids.Max {
		pids.Used = k.threadsOf(anybody) // since Linux 6.14 each pid namespace has a limit of its own
	}
	return []Limit{pids, {
		Name: "kernel.threads-max", Max: k.orUnlimited("/proc/sys/kernel/threads-max"), Used: running, Mend: sysctl("kernel.threads-max", 131072),
	}}
}

func (k Kernel) orUnlimited(path string) uint64 {
	n, err := k.number(path)
	if err != nil {
		return unix.RLIM_INFINITY
	}
	return n
}

// running is how many threads the machine has: in /proc/loadavg behind the slash.
func (k Kernel) running() uint64 {
	text, err := k.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), "/")
	number, _, _ := strings.Cut(after, " ")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// anybody stands for every user.
const anybody = -1

// threadsOf counts a user's threads, as far as this process can see them.
func (k Kernel) threadsOf(uid int) uint64 {
	names, err := k.ReadDir("/proc")
	if err != nil {
		return 0
	}
	var n uint64
	for _, name := range names {
		if _, err := strconv.Atoi(name); err != nil {
			continue
		}
		text, err := k.ReadFile("/proc/" + name + "/status")
		if err != nil {
			continue // gone meanwhile
		}
		// The first of a process's four users is the real one, for whom it counts.
		owner, known := field(text, "Uid:")
		threads, _ := field(text, "Threads:")
		if known && (uid == anybody || owner == uint64(uid)) {
			n += threads
		}
	}
	return n
}
