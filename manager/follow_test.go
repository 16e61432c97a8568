package manager_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// following collects what a stream yields, in a goroutine that the test waits for.
type following[T any] struct {
	items chan T
	end   chan error // once
	stop  context.CancelFunc
}

func follow[T any](t *testing.T, begin func(context.Context) iter.Seq2[T, error]) *following[T] {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	f := &following[T]{items: make(chan T, 10_000), end: make(chan error, 1), stop: cancel}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for item, err := range begin(ctx) {
			if err != nil {
				f.end <- err
				return
			}
			f.items <- item
		}
		f.end <- nil
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return f
}

// next is the next item for which which is true; those before it are dropped.
func (f *following[T]) next(t *testing.T, which func(T) bool) T {
	t.Helper()
	deadline := time.After(15 * time.Second)
	for {
		select {
		case item := <-f.items:
			if which(item) {
				return item
			}
		case <-deadline:
			t.Fatal("it does not come")
		}
	}
}

func (f *following[T]) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-f.end:
		return err
	case <-time.After(15 * time.Second):
		t.Fatal("the stream does not end")
		return nil
	}
}

func TestFollowEvents(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	mustCreate(t, m, one("before", 30001, api.TCP))
	every := follow(t, func(ctx context.Context) iter.Seq2[api.Event, error] {
		return m.FollowEvents(ctx, client.EventQuery{After: new(int64)})
	})
	first := every.next(t, func(api.Event) bool { return true })
	if first.Type != api.EventCreated || first.ServerID != "before" {
		t.Errorf("the first of all is %+v", first)
	}
	some := follow(t, func(ctx context.Context) iter.Seq2[api.Event, error] {
		return m.FollowEvents(ctx, client.EventQuery{After: &first.ID, ServerID: "one", Types: []api.EventType{api.EventCreated, api.EventRemoved}})
	})
	mustCreate(t, m, one("one", 30000, api.TCP))
	if err := m.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []api.EventType{api.EventCreated, api.EventRemoved} {
		if got := some.next(t, func(api.Event) bool { return true }); got.Type != want || got.ServerID != "one" {
			t.Errorf("%+v, want %s of one", got, want)
		}
	}
	every.next(t, func(e api.Event) bool { return e.Type == api.EventRemoved })
	some.stop()
	if err := some.ended(t); err != nil {
		t.Errorf("the caller ended it: %v", err)
	}
	m.Shutdown(t) // does not wait for those who follow
	if err := every.ended(t); err != nil {
		t.Errorf("the service ended it: %v", err)
	}
}

// TestEventSource comes back as browsers do, and asks for what there is not.
func TestEventSource(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	mustCreate(t, m, one("one", 30000, api.TCP))
	list, err := m.Events(t.Context(), client.EventQuery{})
	if err != nil || len(list.Events) < 3 || list.Next != list.Events[len(list.Events)-1].ID {
		t.Fatalf("%+v, %v", list, err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.URL+"/api/instances/one/events?since=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{
		"Authorization": {"Bearer " + testkit.Token}, "Accept": {"text/event-stream"}, "Last-Event-Id": {fmt.Sprint(list.Events[0].ID)},
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	read := bufio.NewReader(resp.Body)
	for _, want := range []string{fmt.Sprintf("id: %d\n", list.Events[1].ID), "event: started\n", `data: {"id":`} {
		if line, err := read.ReadString('\n'); err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("%q (%v), want %q", line, err, want)
		}
	}
	for path, where := range map[string]string{"?since=yesterday": "query.since", "?type=created,crated": "query.type", "?folow=true": "query.folow"} {
		p := testkit.Curl(t, "GET", m.URL+"/api/events"+path, "", "Authorization: Bearer "+testkit.Token).MustBe(t, 422, api.CodeInvalidRequest)
		if len(p.Errors) != 1 || p.Errors[0].Location != where {
			t.Errorf("%s: %+v", path, p.Errors)
		}
	}
	for _, err := range m.FollowLogs(t.Context(), "none", client.LogQuery{}) {
		if !client.IsNotFound(err) {
			t.Errorf("following the log of what is not: %v", err)
		}
	}
	at := client.EventQuery{Since: list.Events[1].Time}
	if later, err := m.Events(t.Context(), at); err != nil || !slices.Contains(later.Events, list.Events[1]) || slices.Contains(later.Events, list.Events[0]) {
		t.Errorf("since %s: %+v, %v", at.Since, later, err)
	}
}

// TestEventsOutliveTheService restarts the manager: what was told before is still there, and nothing is told twice.
func TestEventsOutliveTheService(t *testing.T) {
	t.Parallel()
	var cfg manager.Config
	m := testkit.StartManager(t, func(c *manager.Config) {
		c.StopOnExit = false
		cfg = *c
	})
	a := testkit.StartAgent(t, nil)
	mustCreate(t, m, one("one", 30000, api.TCP))
	connect(t, m, a, "one")
	m.Shutdown(t)
	again := testkit.StartManager(t, func(c *manager.Config) { *c = cfg; c.StopOnExit = true })
	if _, err := again.Wait(t.Context(), "one", api.StatusHealthy, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	told(t, again.Events, api.EventCreated, api.EventStarted, api.EventReady, api.EventConnected, api.EventHealthy, api.EventAdopted)
}

// TestFollowLogs follows an engine's log over its restart, until the instance is gone.
func TestFollowLogs(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	mustCreate(t, m, one("one", 30000, api.TCP))
	watching := func(line string) bool { return strings.Contains(line, "Start watching the config") }
	whole := follow(t, func(ctx context.Context) iter.Seq2[string, error] { return m.FollowLogs(ctx, "one", client.LogQuery{}) })
	if line := whole.next(t, watching); strings.Contains(line, "\x1b") {
		t.Errorf("colours in %q", line)
	}
	fresh := follow(t, func(ctx context.Context) iter.Seq2[string, error] {
		return m.FollowLogs(ctx, "one", client.LogQuery{Lines: -1})
	})
	time0 := time.Now()
	if _, err := m.Restart(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	whole.next(t, watching)
	since, err := m.Logs(t.Context(), "one", client.LogQuery{Since: time0})
	if err != nil || len(slices.DeleteFunc(since.Lines, func(l string) bool { return !watching(l) })) != 1 {
		t.Errorf("since the restart: %q, %v", since.Lines, err)
	}
	wait.Eventually(t, 15*time.Second, func() error { // when it follows, nobody can tell but by what it yields
		if _, err := m.Restart(t.Context(), "one"); err != nil {
			return err
		}
		if len(fresh.items) == 0 {
			return errors.New("no line yet")
		}
		return nil
	})
	if err := m.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(whole.ended(t), fresh.ended(t)); err != nil {
		t.Errorf("the end of the instance: %v", err)
	}
}
