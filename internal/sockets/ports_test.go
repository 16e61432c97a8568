package sockets

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

func TestEphemeralRange(t *testing.T) {
	t.Parallel()
	r, err := EphemeralRange()
	if err != nil {
		t.Fatal(err)
	}
	if r.Start < 1 || r.End <= r.Start || r.End > 65535 {
		t.Fatalf("ephemeral range is %v", r)
	}
}

func TestPortSet(t *testing.T) {
	t.Parallel()
	type ranges = []api.PortRange
	for name, test := range map[string]struct {
		in   ranges
		want portSet
	}{
		"nothing asked is everything": {nil, nil},
		"sorted":                      {ranges{{Start: 30, End: 40}, {Start: 10, End: 20}}, portSet{{Start: 10, End: 20}, {Start: 30, End: 40}}},
		"adjacent":                    {ranges{{Start: 10, End: 20}, {Start: 21, End: 40}}, portSet{{Start: 10, End: 40}}},
		"inside":                      {ranges{{Start: 10, End: 90}, {Start: 20, End: 30}, {Start: 91, End: 91}}, portSet{{Start: 10, End: 91}}},
		"clipped":                     {ranges{{Start: -5, End: 70000}}, portSet{{Start: 0, End: 65535}}},
		"reversed is nothing":         {ranges{{Start: 9, End: 8}}, portSet{}},
		"outside is nothing":          {ranges{{Start: 65536, End: 70000}}, portSet{}},
	} {
		got := newPortSet(test.in)
		if !slices.Equal(got, test.want) || (got == nil) != (test.want == nil) {
			t.Errorf("%s: newPortSet(%v) = %#v, want %#v", name, test.in, got, test.want)
		}
	}
}

func TestPortSetContains(t *testing.T) {
	t.Parallel()
	for n := range 20 {
		ranges := randomRanges(n + 1)
		set := newPortSet(ranges)
		for _, port := range edges(ranges) {
			want := slices.ContainsFunc(ranges, func(r api.PortRange) bool { return r.Start <= int(port) && int(port) <= r.End })
			if got := set.contains(port); got != want {
				t.Fatalf("%v contains %d: %v, want %v", set, port, got, want)
			}
		}
	}
	if !portSet(nil).contains(7) || (portSet{}).contains(7) {
		t.Error("nil must be every port, an empty set none")
	}
}

func randomRanges(n int) []api.PortRange {
	ranges := make([]api.PortRange, n)
	for i := range ranges {
		start := rand.IntN(65536)
		ranges[i] = api.PortRange{Start: start, End: min(start+rand.IntN(300), 65535)}
	}
	return ranges
}

// edges returns the ports at which the answer of a set may change.
func edges(ranges []api.PortRange) []uint16 {
	ports := []uint16{0, 1, 65535}
	for _, r := range ranges {
		ports = append(ports, uint16(r.Start-1), uint16(r.Start), uint16(r.End), uint16(r.End+1))
	}
	return ports
}
