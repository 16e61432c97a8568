package sockets

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

const ephemeralRangeFile = "/proc/sys/net/ipv4/ip_local_port_range"

// EphemeralRange returns the ports from which the kernel picks one for an outgoing connection
// (net.ipv4.ip_local_port_range, 32768 to 60999 unless changed; it holds for IPv6 as well). Any program's connected socket
// may sit on one of them for as long as it likes and so block a bind there.
func EphemeralRange() (api.PortRange, error) {
	text, err := os.ReadFile(ephemeralRangeFile)
	if err != nil {
		return api.PortRange{}, fmt.Errorf("read the ephemeral port range: %w", err)
	}
	var r api.PortRange
	if _, err := fmt.Sscan(string(text), &r.Start, &r.End); err != nil {
		return api.PortRange{}, fmt.Errorf("read the ephemeral port range: %s holds %q: %w", ephemeralRangeFile, text, err)
	}
	return r, nil
}

// portSet is a list of port ranges in order, with gaps between them. nil is every port, an empty set none.
type portSet []api.PortRange

func newPortSet(ranges []api.PortRange) portSet {
	if len(ranges) == 0 {
		return nil
	}
	set := make(portSet, 0, len(ranges))
	for _, r := range ranges {
		r.Start, r.End = max(r.Start, 0), min(r.End, math.MaxUint16)
		if r.Start <= r.End {
			set = append(set, r)
		}
	}
	slices.SortFunc(set, func(a, b api.PortRange) int { return cmp.Compare(a.Start, b.Start) })
	merged := set[:0]
	for _, r := range set {
		last := len(merged) - 1
		if last >= 0 && r.Start <= merged[last].End+1 {
			merged[last].End = max(merged[last].End, r.End)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

func (p portSet) contains(port uint16) bool {
	if p == nil {
		return true
	}
	// The first range that does not end before the port is the only one that can hold it.
	i, _ := slices.BinarySearchFunc(p, int(port), func(r api.PortRange, port int) int { return cmp.Compare(r.End, port) })
	return i < len(p) && p[i].Start <= int(port)
}
