package flow

import (
	"os"
	"strconv"
	"strings"
)

// drops counts the packets that this machine's kernel has thrown away since its start, in any namespace and of any program,
// because a processor was too busy to take them from its queue (net.core.netdev_max_backlog, 1000 packets). Loopback has the
// same queue: a datagram can be lost there too, and no tunnel is to blame. 0 where nobody can tell.
func drops() int {
	text, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		return 0
	}
	return parseDrops(string(text))
}

// parseDrops reads a line for each processor, whose second field counts what was dropped, in hex.
func parseDrops(text string) int {
	n := 0
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if dropped, err := strconv.ParseInt(fields[1], 16, 64); err == nil {
			n += int(dropped)
		}
	}
	return n
}
