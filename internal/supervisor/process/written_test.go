package process

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// TestWritten waits for lines, and is told of those of its unit at once and of all units once.
func TestWritten(t *testing.T) {
	t.Parallel()
	b, err := New(Config{Units: t.TempDir(), Logs: t.TempDir(), Flag: "-s", ConfigName: "x.toml", Log: wait.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	say := func(id string) {
		t.Helper()
		f, err := b.openLog(b.logPath(id))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		if _, err := f.WriteString("line\n"); err != nil {
			t.Fatal(err)
		}
	}
	mine, stop := b.Wrote("mine")
	also, stopAlso := b.Wrote("mine")
	defer stopAlso()
	other, stopOther := b.Wrote("other")
	defer stopOther()
	if mine == nil {
		t.Skip("this user has no inotify instance left")
	}
	say("mine")
	for _, hint := range []<-chan struct{}{mine, also} {
		select {
		case <-hint:
		case <-time.After(10 * time.Second):
			t.Fatal("a line was written, and nobody told")
		}
	}
	stop()
	say("mine") // with nobody to take the hint, none may block those that follow
	say("mine")
	say("third")
	if err := os.WriteFile(filepath.Join(b.cfg.Logs, "mine.err"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	grown := map[string]struct{}{}
	wait.Eventually(t, 10*time.Second, func() error {
		now, known := b.Grown()
		if !known {
			t.Fatal("the kernel has lost events")
		}
		maps.Copy(grown, now)
		if _, ok := grown["third"]; !ok {
			return os.ErrNotExist
		}
		return nil
	})
	if got := slices.Sorted(maps.Keys(grown)); !slices.Equal(got, []string{"mine", "third"}) {
		t.Errorf("grown: %q", got)
	}
	if again, known := b.Grown(); len(again) != 0 || !known {
		t.Errorf("told again: %v %v", again, known)
	}
	select {
	case <-mine:
		t.Error("a hint after its end")
	case <-other:
		t.Error("a hint for a unit that wrote nothing")
	default:
	}

	// Somebody removes the directory: from now on logs are asked for.
	if err := os.RemoveAll(b.cfg.Logs); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 10*time.Second, func() error {
		if _, known := b.Grown(); known {
			return os.ErrExist
		}
		return nil
	})
	if hint, _ := b.Wrote("mine"); hint != nil {
		t.Error("a hint is promised that cannot come")
	}
}
