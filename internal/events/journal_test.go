package events_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/events"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

func open(t *testing.T, path string, o events.Options) *events.Journal {
	t.Helper()
	if o.Log == nil {
		o.Log = wait.Logger(t)
	}
	j := events.Open(path, o)
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func add(j *events.Journal, messages ...string) {
	for _, m := range messages {
		j.Append(api.Event{ServerID: "one", Type: api.EventStarted, Message: m})
	}
}

// said are the messages of events; a gap is "GAP".
func said(list []api.Event) []string {
	out := []string{}
	for _, e := range list {
		if e.Type == api.EventGap {
			e.Message = "GAP"
		}
		out = append(out, e.Message)
	}
	return out
}

func expect(t *testing.T, got []api.Event, want ...string) {
	t.Helper()
	if !slices.Equal(said(got), want) {
		t.Errorf("got %v, want %v", said(got), want)
	}
}

func TestJournalOutlivesItsService(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), events.FileName)
	first := open(t, path, events.Options{})
	whole := first.Append(api.Event{ServerID: "one", Type: api.EventExited, Reason: "r", Message: "m", By: "192.0.2.1"})
	add(first, "b")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	add(first, "never written") // after the end: kept in memory, no harm done
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file is %v (%v), want mode 0600", info.Mode(), err)
	}
	second := open(t, path, events.Options{})
	add(second, "c")
	all := second.All()
	expect(t, all, "m", "b", "c")
	if all[0] != whole {
		t.Errorf("read back %+v, was %+v", all[0], whole)
	}
	if !slices.IsSortedFunc(all, func(a, b api.Event) int { return int(a.ID - b.ID) }) || all[1].ID == all[2].ID {
		t.Errorf("ids do not rise: %+v", all)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	third := open(t, path, events.Options{})
	add(third, "d")
	if third.Last() <= second.Last() {
		t.Errorf("without its file the journal gives id %d again, after %d", third.Last(), second.Last())
	}
}

func TestJournalReadsDamage(t *testing.T) {
	t.Parallel()
	line := func(id int, message string) string {
		text, err := json.Marshal(api.Event{ID: int64(id), Type: api.EventStarted, Message: message})
		if err != nil {
			t.Fatal(err)
		}
		return string(text) + "\n"
	}
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"empty":             {"", []string{"new"}},
		"torn last line":    {line(1, "a") + line(2, "b")[:20], []string{"a", "new"}},
		"whole, no newline": {line(1, "a") + strings.TrimSuffix(line(2, "b"), "\n"), []string{"a", "b", "new"}},
		"rubbish within":    {line(1, "a") + "\x00\x00\n{}\n[]\nnull\n" + line(2, "b"), []string{"a", "b", "new"}},
		"a line twice":      {line(1, "a") + line(1, "a") + line(2, "b"), []string{"a", "b", "new"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), events.FileName)
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			j := open(t, path, events.Options{})
			add(j, "new")
			expect(t, j.All(), tc.want...)
			expect(t, open(t, path, events.Options{}).All(), tc.want...)
		})
	}
}

func TestJournalIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), events.FileName)
	o := events.Options{Keep: 20, MaxFile: 1000}
	j := open(t, path, o)
	var messages []string
	for n := range 100 {
		messages = append(messages, fmt.Sprint(n))
		add(j, messages[n])
		for _, p := range []string{path, path + ".1"} {
			if info, err := os.Stat(p); err == nil && info.Size() > 1000 {
				t.Fatalf("%s has %d bytes", filepath.Base(p), info.Size())
			}
		}
	}
	expect(t, j.All(), messages[80:]...)
	again := open(t, path, o)
	kept := said(again.All())
	if len(kept) < 9 || !slices.Equal(kept, messages[100-len(kept):]) {
		t.Errorf("read back %v", kept)
	}
	// Who has read the first event has missed some, and is told so, before the restart and after.
	first := j.Last() - 1_000_000_000
	for _, j := range []*events.Journal{j, again} {
		if got, _ := j.Since(first, events.Filter{}, 0); got[0].Type != api.EventGap || got[1] != j.All()[0] {
			t.Errorf("no gap before %v", said(got))
		}
	}
	if long := j.Append(api.Event{Message: strings.Repeat("ä", 1000)}); len(long.Message) > 510 || strings.Contains(long.Message, "\ufffd") {
		t.Errorf("a message of %d bytes", len(long.Message))
	}
}

// TestJournalOnAFullDisk goes on in memory, says so once, and writes all of it when there is room.
func TestJournalOnAFullDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), events.FileName)
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	j := open(t, path, events.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	add(j, "a", "b")
	expect(t, j.All(), "a", "b")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	add(j, "c")
	expect(t, open(t, path, events.Options{}).All(), "a", "b", "c")
	if errs, again := strings.Count(log.String(), "level=ERROR"), strings.Count(log.String(), "is written again"); errs != 1 || again != 1 {
		t.Errorf("said %d times that it fails and %d times that it works again:\n%s", errs, again, &log)
	}
}

func TestReading(t *testing.T) {
	t.Parallel()
	j := open(t, filepath.Join(t.TempDir(), "x"), events.Options{})
	add(j, "a", "b")
	third := j.Append(api.Event{ServerID: "two", Type: api.EventExited, Message: "c", Time: time.Now().Add(time.Hour)})
	add(j, "d")
	all := j.All()
	list := func(got []api.Event, _ int64) []api.Event { return got }
	expect(t, list(j.Since(0, events.Filter{}, 0)), "a", "b", "c", "d")
	expect(t, list(j.Since(all[0].ID, events.Filter{}, 2)), "b", "c")
	expect(t, list(j.Since(0, events.Filter{ServerID: "two"}, 0)), "c")
	expect(t, list(j.Since(0, events.Filter{Types: []api.EventType{api.EventExited, api.EventReady}}, 0)), "c")
	expect(t, list(j.Since(j.Last(), events.Filter{}, 0)))
	expect(t, list(j.Since(j.At(third.Time), events.Filter{}, 0)), "c", "d")
	expect(t, list(j.Since(j.At(third.Time.Add(time.Hour)), events.Filter{}, 0)))
	expect(t, list(j.Newest(events.Filter{}, 2)), "c", "d")
	expect(t, list(j.Newest(events.Filter{ServerID: "one"}, 2)), "b", "d")
	if _, next := j.Since(0, events.Filter{ServerID: "none"}, 1); next != j.Last() {
		t.Errorf("a filter that matches nothing goes on at %d, not at the end %d", next, j.Last())
	}
	if _, next := j.Since(0, events.Filter{}, 2); next != all[1].ID {
		t.Errorf("a page of two goes on at %d, want %d", next, all[1].ID)
	}
}

// TestFollow has followers read while many append: each gets every event, once, in order.
func TestFollow(t *testing.T) {
	t.Parallel()
	const writers, each, followers = 8, 200, 4
	j := open(t, filepath.Join(t.TempDir(), "x"), events.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for range followers {
		wg.Go(func() {
			var last int64
			n := 0
			for e := range j.Follow(ctx, 0, events.Filter{ServerID: "one"}) {
				if e.ID <= last || e.Type == api.EventGap {
					t.Errorf("event %+v after %d", e, last)
				}
				last = e.ID
				if n++; n == writers*each {
					return
				}
			}
			t.Errorf("a follower got %d of %d events", n, writers*each)
		})
	}
	for range writers {
		wg.Go(func() {
			for n := range each {
				add(j, fmt.Sprint(n))
				j.Append(api.Event{ServerID: "other"})
			}
		})
	}
	wg.Wait()
}

// TestFollowerThatIsTooSlow is told of what it has missed, and gets the rest.
func TestFollowerThatIsTooSlow(t *testing.T) {
	t.Parallel()
	j := open(t, filepath.Join(t.TempDir(), "x"), events.Options{Keep: 3})
	add(j, "a")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []api.Event
	for e := range j.Follow(ctx, 0, events.Filter{ServerID: "one"}) {
		got = append(got, e)
		if e.Message == "a" {
			add(j, "b", "c", "d", "e") // while the follower does something else
		}
		if e.Message == "e" {
			cancel() // the end of the context is the end of following
		}
	}
	expect(t, got, "a", "GAP", "c", "d", "e")
}
