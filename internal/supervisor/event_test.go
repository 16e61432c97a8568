package supervisor_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// diary keeps events as "type" or "type(reason)", with the order's owner behind an @.
type diary struct {
	mu    sync.Mutex
	lines []string
}

type owner struct{}

func (d *diary) note(ctx context.Context, e supervisor.Event) {
	line := string(e.Type)
	if e.Reason != "" {
		line += "(" + e.Reason + ")"
	}
	if who, ok := ctx.Value(owner{}).(string); ok {
		line += "@" + who
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

func (d *diary) await(t *testing.T, want ...string) {
	t.Helper()
	wait.Eventually(t, time.Minute, func() error {
		if got := d.read(); !slices.Equal(got, want) {
			return fmt.Errorf("events\n%s\nwant\n%s", strings.Join(got, " "), strings.Join(want, " "))
		}
		return nil
	})
}

func TestEventsTellTheStory(t *testing.T) {
	t.Parallel()
	h, d := newHouse(t), &diary{}
	s := h.open(func(c *supervisor.Config[extra]) { c.Event = d.note })
	ctx := context.WithValue(t.Context(), owner{}, "me")
	draft := func(config string) supervisor.Draft[extra] {
		return supervisor.Draft[extra]{Desired: supervisor.Running, Config: config}
	}
	must := func(v supervisor.View[extra], err error) supervisor.View[extra] {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	story := []string{"created@me", "started", "ready"}
	v := must(s.Create(ctx, "one", draft("reloadable 1")))
	d.await(t, story...)

	kill(t, v.Process.PID)
	story = append(story, "exited(exited)", "started", "ready")
	d.await(t, story...)

	must(s.Update(ctx, "one", 0, draft("reloadable 2")))
	story = append(story, "updated@me", "reloaded")
	d.await(t, story...)

	must(s.Update(ctx, "one", 0, draft("other")))
	story = append(story, "updated@me", "restarting(new_config)", "started", "ready")
	d.await(t, story...)

	must(s.Restart(ctx, "one"))
	story = append(story, "restarting(requested)@me", "started", "ready")
	d.await(t, story...)

	must(s.Update(ctx, "one", 0, supervisor.Draft[extra]{Desired: supervisor.Stopped, Config: "other"}))
	story = append(story, "updated@me", "stopped(disabled)")
	d.await(t, story...)

	if err := s.Delete(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	d.await(t, append(story, "deleted@me", "removed")...)
}

// TestEventsDoNotRepeatAFailure has a unit that cannot be started: it is told once, however often it is tried.
func TestEventsDoNotRepeatAFailure(t *testing.T) {
	t.Parallel()
	h, d := newHouse(t), &diary{}
	s := h.open(func(c *supervisor.Config[extra]) { c.Event = d.note })
	s.mustCreate(t, "one", "run")
	_, err := s.Update(t.Context(), "one", 0, supervisor.Draft[extra]{Desired: supervisor.Running, Config: "refused"})
	if err == nil {
		t.Fatal("the update went well")
	}
	wait.Eventually(t, 5*time.Second, func() error {
		if v, err := s.Get("one"); err != nil || v.Attempts < 4 {
			return fmt.Errorf("%d attempts, %w", v.Attempts, err)
		}
		return nil
	})
	d.await(t, "created", "started", "ready", "updated", "restarting(new_config)", "start_failed(refused)")
}

func TestEventsOfATakeover(t *testing.T) {
	t.Parallel()
	h, d := newHouse(t), &diary{}
	first := h.open(nil)
	v := first.mustCreate(t, "one", "run")
	first.end()
	second := h.open(func(c *supervisor.Config[extra]) { c.Event, c.FrozenAfter = d.note, 100*time.Millisecond })
	d.await(t, "adopted")
	if err := syscall.Kill(v.Process.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	d.await(t, "adopted", "frozen(stopped)", "restarting(frozen)", "started", "ready")
	second.end()
}
