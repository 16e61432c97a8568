package service

import (
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// TestHealingBudget uses a remedy until its budget is used up, and lets time pass.
func TestHealingBudget(t *testing.T) {
	t.Parallel()
	var told []api.EventType
	h := &Healing{Tell: func(e api.Event) {
		if e.ServerID != "one" || e.Reason != "stuck" || e.Message == "" {
			t.Errorf("%+v", e)
		}
		told = append(told, e.Type)
	}}
	r := Remedy{Reason: "stuck", Every: time.Minute, Hourly: 2}
	start := time.Now()
	for _, step := range []struct {
		at   time.Duration
		want bool
	}{
		{0, true},
		{time.Second, false},
		{time.Minute, true},
		{3 * time.Minute, false},
		{4 * time.Minute, false},
		{time.Hour, true},
		{time.Hour + 30*time.Second, false},
		{time.Hour + time.Minute, true},
		{time.Hour + 3*time.Minute, false},
	} {
		if got := h.begin("one", r, "it hangs", start.Add(step.at)); got != step.want {
			t.Errorf("after %s: %v", step.at, got)
		}
	}
	want := "healing healing healing_exhausted healing healing_exhausted healing healing_exhausted"
	var words []string
	for _, w := range told {
		words = append(words, string(w))
	}
	if got := strings.Join(words, " "); got != want {
		t.Errorf("told %s, want %s", got, want)
	}
}

// TestHealingIsExplained wants the condition that is amiss to say what was done, until the unit is healthy.
func TestHealingIsExplained(t *testing.T) {
	t.Parallel()
	h := &Healing{Tell: func(api.Event) {}}
	seen := func(status api.Status, connected api.ConditionStatus) string {
		o := Observed{Status: status, Conditions: []api.Condition{
			{Type: api.ProcessRunning, Status: api.True, Message: "runs"}, {Type: api.Connected, Status: connected, Message: "as it is"},
		}}
		h.Explain("one", &o)
		if o.Conditions[0].Message != "runs" {
			t.Errorf("the condition that is true says %q", o.Conditions[0].Message)
		}
		return o.Conditions[1].Message
	}
	if got := seen(api.StatusDown, api.False); got != "as it is" {
		t.Errorf("%q", got)
	}
	h.Begin("one", Remedy{Reason: "stuck", Every: time.Minute, Hourly: 1}, "it hangs")
	if got := seen(api.StatusDown, api.False); !strings.Contains(got, "(stuck): it hangs") {
		t.Errorf("%q", got)
	}
	h.Begin("one", Remedy{Reason: "stuck", Every: time.Minute, Hourly: 1}, "it hangs")
	if got := seen(api.StatusDown, api.False); !strings.Contains(got, "not healed again (stuck)") {
		t.Errorf("%q", got)
	}
	for _, status := range []api.Status{api.StatusHealthy, api.StatusDown} {
		if got := seen(status, api.False); got != "as it is" {
			t.Errorf("%s: %q", status, got)
		}
	}
}
