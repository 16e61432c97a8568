package supervisor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// TestSecondServiceOnOneStateIsTurnedAway locks a state directory twice, also by another name. The second service is told so
// within a second, though it waits for the half-born children of one that was killed; and the first one's end lets it in.
func TestSecondServiceOnOneStateIsTurnedAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	state, link := filepath.Join(dir, "state"), filepath.Join(dir, "link")
	if err := os.Symlink(state, link); err != nil {
		t.Fatal(err)
	}
	first, err := supervisor.LockState(state)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{state, link} {
		quickest := time.Hour
		for range 3 { // a busy machine may keep one of them waiting
			begin := time.Now()
			second, err := supervisor.LockState(name)
			if err == nil {
				t.Fatalf("two services have %s: %v", name, second.Close())
			}
			if !strings.Contains(err.Error(), "another service already runs on "+name) {
				t.Errorf("it says %q", err)
			}
			if quickest = min(quickest, time.Since(begin)); quickest < time.Second {
				break
			}
		}
		if quickest >= time.Second {
			t.Errorf("%s: turned away after %s", name, quickest)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third, err := supervisor.LockState(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Close(); err != nil {
		t.Error(err)
	}
}
