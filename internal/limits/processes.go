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
	nearest := slices.MinFunc(k.Threads(uid), func(a, b Limit) int { return cmp.Compare(a.Left(), b.Left()) })
	if nearest.Left() > threadsOfProcess {
		return Trouble{Processes, fmt.Sprintf("the kernel starts no further process or thread, though the nearest of its limits is not reached now: %s; %s",
			nearest, nearest.Mend)}
	}
	return Trouble{Processes, fmt.Sprintf("no further process or thread can be started: %s; %s", nearest, nearest.Mend)}
}

// Threads lists the limits of processes, all of which count threads: the user's, that of each cgroup around this process,
// and the machine's two. What cannot be read counts as unlimited.
func (k Kernel) Threads(uid int) []Limit {
	var all []Limit
	visible, own := k.count(uid)
	if n, err := k.Limit(unix.RLIMIT_NPROC); err == nil && uid != 0 { // root is not bound by it
		all = append(all, Limit{
			Name: fmt.Sprintf("RLIMIT_NPROC of user %d", uid), Max: n, Used: own,
			Mend: "raise it where the service is started: `LimitNPROC=65536` in its systemd unit, or `ulimit -u 65536`",
		})
	}
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
	running := k.running()
	all = append(all, Limit{Name: "kernel.threads-max", Max: k.orUnlimited("/proc/sys/kernel/threads-max"), Used: running, Mend: sysctl("kernel.threads-max", 131072)})
	pids := Limit{Name: "kernel.pid_max", Max: k.orUnlimited("/proc/sys/kernel/pid_max"), Used: running, Mend: sysctl("kernel.pid_max", 131072)}
	if pids.Used > pids.Max {
		pids.Used = visible // since Linux 6.14 each pid namespace has a limit of its own
	}
	return append(all, pids)
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

// count counts the threads that this process can see, and those of them that belong to a user.
func (k Kernel) count(uid int) (all, own uint64) {
	names, err := k.ReadDir("/proc")
	if err != nil {
		return 0, 0
	}
	for _, name := range names {
		if _, err := strconv.Atoi(name); err != nil {
			continue
		}
		status := "/proc/" + name + "/status"
		threads, ok := k.field(status, "Threads:")
		if !ok {
			continue // gone meanwhile
		}
		all += threads
		if owner, ok := k.field(status, "Uid:"); ok && owner == uint64(uid) { // the first of the four is the real one, which is counted
			own += threads
		}
	}
	return all, own
}
