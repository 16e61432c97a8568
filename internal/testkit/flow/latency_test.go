package flow

import (
	"testing"
	"time"
)

func TestHistogramKnowsItsQuantiles(t *testing.T) {
	t.Parallel()
	var a, b histogram
	for i := range 1000 {
		one := &a
		if i%2 == 0 {
			one = &b
		}
		one.note(time.Duration(i+1) * 100 * time.Microsecond)
	}
	a.add(b)
	got := a.latency()
	within := func(name string, got, want time.Duration) {
		t.Helper()
		if got < want || float64(got) > 1.051*float64(want) {
			t.Errorf("%s is %s, want %s or up to 5 %% more", name, got, want)
		}
	}
	within("p50", got.P50, 50*time.Millisecond)
	within("p99", got.P99, 99*time.Millisecond)
	if got.Samples != 1000 || got.Max != 100*time.Millisecond {
		t.Errorf("%+v", got)
	}
	if empty := (&histogram{}).latency(); empty != (Latency{}) {
		t.Errorf("nothing measured is %+v", empty)
	}
	var edges histogram
	edges.note(0)
	edges.note(time.Hour)
	if got := edges.latency(); got.Samples != 2 || got.Max != time.Hour {
		t.Errorf("%+v", got)
	}
}
