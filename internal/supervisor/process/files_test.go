package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// TestLockWhileOthersFork takes a free lock again and again, while other starts fork: a half-born child has a copy of the
// descriptor, and must not be taken for a running engine.
func TestLockWhileOthersFork(t *testing.T) {
	t.Parallel()
	b, err := New(Config{Units: t.TempDir(), Logs: t.TempDir(), Flag: "-s", ConfigName: "x.toml"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	if err := os.Mkdir(filepath.Join(b.cfg.Units, "one"), 0o700); err != nil {
		t.Fatal(err)
	}
	var (
		forking sync.WaitGroup
		done    atomic.Bool
	)
	for range 4 {
		forking.Go(func() {
			for !done.Load() {
				if err := exec.CommandContext(t.Context(), "/bin/true").Run(); err != nil {
					t.Errorf("fork: %v", err)
					return
				}
			}
		})
	}
	for n := range 5000 {
		lock, err := b.lock("one", os.O_CREATE)
		if err != nil {
			t.Errorf("attempt %d: %v", n, err)
			break
		}
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
	}
	done.Store(true)
	forking.Wait()
}
