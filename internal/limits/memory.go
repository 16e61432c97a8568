package limits

import "fmt"

// Memory is about memory that the kernel would not give.
func (k Kernel) Memory() Trouble {
	return Trouble{Memory, "the kernel has no memory left to give: " + k.memory()}
}

// Killed is about a process that was killed while the kernel killed some for want of memory.
func (k Kernel) Killed(kills uint64) string {
	return fmt.Sprintf("the kernel's out-of-memory killer has been at work (kills: %d): %s", kills, k.memory())
}

// memory names the tightest limit of memory around this process, or the machine's free memory.
func (k Kernel) memory() string {
	var tightest Limit
	for _, g := range k.groups("memory") {
		for _, file := range []struct{ max, used string }{{"memory.max", "memory.current"}, {"memory.limit_in_bytes", "memory.usage_in_bytes"}} {
			n, err := k.number(g.dir + "/" + file.max)
			if err != nil || n > unlimitedBytes || (tightest.Name != "" && n >= tightest.Max) {
				continue
			}
			tightest = Limit{Name: fmt.Sprintf("%s of cgroup %s", file.max, g.name), Max: n}
			tightest.Used, _ = k.number(g.dir + "/" + file.used)
		}
	}
	if tightest.Name != "" {
		return fmt.Sprintf("%s is %s, and %s are in use; raise it: `MemoryMax=` in the service's systemd unit, or --memory of its container",
			tightest.Name, Bytes(tightest.Max), Bytes(tightest.Used))
	}
	free, _ := k.field("/proc/meminfo", "MemAvailable:")
	return fmt.Sprintf("%s are available on this machine; end what takes it, or give it more", Bytes(free<<10))
}

// unlimitedBytes is where a limit of memory is none: version 1 of cgroups writes a huge number for "max".
const unlimitedBytes = 1 << 50

// OOMKills counts the processes that the kernel has killed for want of memory: in the cgroup of this process and below, or
// on the whole machine where cgroups do not count them.
func (k Kernel) OOMKills() uint64 {
	if groups := k.groups("memory"); len(groups) > 0 {
		for _, file := range []string{"memory.events", "memory.oom_control"} {
			if n, ok := k.field(groups[0].dir+"/"+file, "oom_kill"); ok {
				return n
			}
		}
	}
	n, _ := k.field("/proc/vmstat", "oom_kill")
	return n
}
