package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	p.makes(t, "srv-1", 30000)
	p.makes(t, "web", 30001)
	out, errs, code := p.types(t, "events", "srv-1")
	for _, want := range []string{"srv-1 created: revision 1, by 127.0.0.1", "srv-1 started", "srv-1 ready"} {
		if !strings.Contains(out, want) || strings.Contains(out, "web") || code != 0 {
			t.Errorf("exit code %d, want %q\n%s%s", code, want, out, errs)
		}
	}
	out, _, _ = p.types(t, "events", "-o", "json", "--type", "created")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var e api.Event
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &e); err != nil || len(lines) != 2 || e.ServerID != "web" || e.Type != api.EventCreated {
		t.Errorf("%v\n%s", err, out)
	}
	p.mustHear(t, 2, "-n must be", "events", "-n", "0")
}

func TestEventsAreFollowed(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	var out, errs locked
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- run(ctx, append([]string{"events", "-f"}, p.settings...), &out, &errs, nil) }()
	// What happens before the stream has begun is told as well.
	p.makes(t, "srv-1", 30000)
	if err := p.Delete(t.Context(), "srv-1"); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 10*time.Second, func() error {
		if text := out.String(); !strings.Contains(text, "srv-1 removed") {
			return fmt.Errorf("it prints\n%s", text)
		}
		return nil
	})
	interrupt()
	if err := <-done; err != nil || strings.Index(out.String(), "srv-1 created") > strings.Index(out.String(), "srv-1 removed") {
		t.Errorf("%v\n%s%s", err, out.String(), errs.String())
	}
}

func TestProbeAndRotate(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	p.makes(t, "srv-1", 30000)
	out, errs, code := p.types(t, "probe", "srv-1")
	if code != 3 || !strings.Contains(out, "game     tcp") || !strings.Contains(errs, "players do not reach srv-1") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	out, _, code = p.types(t, "probe", "srv-1", "-o", "json")
	var report api.ProbeReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 3 || report.Reachable {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
	p.mustSee(t, "srv-1 has new secrets (revision 2); its client needs the new config: run terraform apply, or hand it to the agent\n", "rotate", "srv-1")
	p.mustHear(t, 1, "srv-1", "rotate", "srv-2")
}
