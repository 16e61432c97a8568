package flow

import (
	"fmt"
	"math"
	"time"
)

// Latency is how long round trips took, over all flows.
type Latency struct {
	Samples  int
	P50, P99 time.Duration // rounded up to the next 5 %
	Max      time.Duration
}

// String is a latency on one line.
func (l Latency) String() string {
	return fmt.Sprintf("p50 %.2f ms, p99 %.2f ms, longest %.2f ms of %d round trips", ms(l.P50), ms(l.P99), ms(l.Max), l.Samples)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Lap returns the latency since the last call of Lap, or since Start.
func (c *Checker) Lap() Latency {
	var all histogram
	for _, f := range c.flows {
		f.mu.Lock()
		all.add(f.trips)
		f.trips = histogram{}
		f.mu.Unlock()
	}
	return all.latency()
}

// growth is how much wider each bucket is than the one before, and steps is enough of them for 10 s: 1.05^400 µs.
const (
	growth = 1.05
	steps  = 400
)

// histogram counts durations in buckets: a soak's millions of round trips would be a lot of memory, and this is not.
type histogram struct {
	counts  [steps]uint32
	longest time.Duration
}

func (h *histogram) note(d time.Duration) {
	i := 0
	if d > time.Microsecond {
		i = int(math.Ceil(math.Log(float64(d)/float64(time.Microsecond)) / math.Log(growth)))
	}
	h.counts[min(i, steps-1)]++
	h.longest = max(h.longest, d)
}

func (h *histogram) add(o histogram) {
	for i, n := range &o.counts {
		h.counts[i] += n
	}
	h.longest = max(h.longest, o.longest)
}

func (h *histogram) latency() Latency {
	l := Latency{Max: h.longest}
	for _, n := range &h.counts {
		l.Samples += int(n)
	}
	l.P50, l.P99 = h.quantile(0.50, l.Samples), h.quantile(0.99, l.Samples)
	return l
}

// quantile is the upper end of the bucket in which the quantile lies, 0 if there are no samples.
func (h *histogram) quantile(q float64, samples int) time.Duration {
	rank, seen := int(math.Ceil(q*float64(samples))), 0
	for i, n := range &h.counts {
		seen += int(n)
		if n > 0 && seen >= rank {
			return min(h.longest, time.Duration(math.Pow(growth, float64(i))*float64(time.Microsecond)))
		}
	}
	return 0
}
