package manager

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// ParseRanges reads "10000-20000,21000" as ranges of ports.
func ParseRanges(text string) ([]api.PortRange, error) {
	var ranges []api.PortRange
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		start, err1 := strconv.Atoi(strings.TrimSpace(first))
		end, err2 := strconv.Atoi(strings.TrimSpace(last))
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("%q is no port and no range of ports such as 10000-20000", part)
		}
		ranges = append(ranges, api.PortRange{Start: start, End: end})
	}
	return ranges, nil
}

func checkRange(kind string, r api.PortRange, setting string) error {
	if r.Start > r.End {
		return fmt.Errorf("the %s ports start at %d and end at %d: swap the two numbers (%s)", kind, r.Start, r.End, setting)
	}
	if r.Start < 1 || r.End > 65535 {
		return fmt.Errorf("the %s ports %s are not within 1-65535 (%s)", kind, show(r), setting)
	}
	return nil
}

func show(r api.PortRange) string {
	if r.Start == r.End {
		return strconv.Itoa(r.Start)
	}
	return fmt.Sprintf("%d-%d", r.Start, r.End)
}

func showAll(ranges []api.PortRange) string {
	parts := make([]string, len(ranges))
	for i, r := range ranges {
		parts[i] = show(r)
	}
	return strings.Join(parts, ", ")
}

func contains(r api.PortRange, port int) bool { return r.Start <= port && port <= r.End }

func within(ranges []api.PortRange, port int) bool {
	for _, r := range ranges {
		if contains(r, port) {
			return true
		}
	}
	return false
}

func count(ranges []api.PortRange) int {
	n := 0
	for _, r := range ranges {
		n += r.End - r.Start + 1
	}
	return n
}

// overlap finds a range of a and one of b that share a port. A list is not compared with itself at the same place.
func overlap(a, b []api.PortRange) (api.PortRange, api.PortRange, bool) {
	same := len(a) > 0 && len(b) > 0 && &a[0] == &b[0]
	for i, x := range a {
		for j, y := range b {
			if same && i == j {
				continue
			}
			if x.Start <= y.End && y.Start <= x.End {
				return x, y, true
			}
		}
	}
	return api.PortRange{}, api.PortRange{}, false
}

// subtract gives whole without holes.
func subtract(whole api.PortRange, holes []api.PortRange) []api.PortRange {
	left := []api.PortRange{whole}
	for _, h := range holes {
		var next []api.PortRange
		for _, r := range left {
			if h.End < r.Start || h.Start > r.End {
				next = append(next, r)
				continue
			}
			if r.Start < h.Start {
				next = append(next, api.PortRange{Start: r.Start, End: h.Start - 1})
			}
			if h.End < r.End {
				next = append(next, api.PortRange{Start: h.End + 1, End: r.End})
			}
		}
		left = next
	}
	return left
}

// intersect gives the parts of ranges that lie in r, in order.
func intersect(ranges []api.PortRange, r api.PortRange) []api.PortRange {
	var parts []api.PortRange
	for _, x := range ranges {
		x.Start, x.End = max(x.Start, r.Start), min(x.End, r.End)
		if x.Start <= x.End {
			parts = append(parts, x)
		}
	}
	return parts
}
