package obtain

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func writes(text string) filler {
	return func(_ context.Context, executable, work string) error {
		if err := os.WriteFile(filepath.Join(work, "junk"), []byte("junk"), 0o600); err != nil {
			return err
		}
		return os.WriteFile(executable, []byte(text), 0o600)
	}
}

func TestCacheIsFilledOnceHoweverManyAsk(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := cache{dir: l.CacheDir, progress: l.said}
	var made atomic.Int32
	begun, release := make(chan struct{}), make(chan struct{})
	slow := func(ctx context.Context, executable, work string) error {
		made.Add(1)
		close(begun)
		<-release
		return writes("program")(ctx, executable, work)
	}
	var wg sync.WaitGroup
	get := func(fill filler) {
		wg.Go(func() {
			if _, err := c.get(t.Context(), "e", "program", fill); err != nil {
				t.Error(err)
			}
		})
	}
	get(slow)
	<-begun // the lock is held
	for range 5 {
		get(func(context.Context, string, string) error {
			made.Add(1)
			return errors.New("made a second time")
		})
	}
	for deadline := time.Now().Add(10 * time.Second); l.said.String() == "" && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // until one of them says that it waits
	}
	close(release)
	wg.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
	mustContain(t, l.said.String(), "another process is making e")
	if got := l.cached(t); len(got) != 2 || got[0] != "e/program" || got[1] != "e/program.sha256" {
		t.Errorf("in the cache: %v", got)
	}
}

func TestCacheMakesAnewWhatWasChanged(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(path string) error{
		"truncated":   func(path string) error { return os.Truncate(path, 3) },
		"removed":     os.Remove,
		"sum removed": func(path string) error { return os.Remove(path + ".sha256") },
		"sum emptied": func(path string) error { return os.Truncate(path+".sha256", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			c := cache{dir: l.CacheDir, progress: l.said}
			path, err := c.get(t.Context(), "e", "program", writes("first"))
			if err != nil {
				t.Fatal(err)
			}
			if err := harm(path); err != nil {
				t.Fatal(err)
			}
			if path, err = c.get(t.Context(), "e", "program", writes("second")); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != "second" {
				t.Errorf("got %q, %v", got, err)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("got %v, %v, want 0755", info.Mode(), err)
			}
		})
	}
}

func TestCacheKeepsNothingOfAFailureNorOfAKilledProcess(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := cache{dir: l.CacheDir, progress: l.said}
	script(t, filepath.Join(l.CacheDir, ".new-e-1234", "work", "target", "half.o"), "left by a killed process")
	failure := errors.New("no compiler")
	_, err := c.get(t.Context(), "e", "program", func(ctx context.Context, executable, work string) error {
		return errors.Join(writes("half")(ctx, executable, work), failure)
	})
	if !errors.Is(err, failure) {
		t.Errorf("got %v, want %v", err, failure)
	}
	if got := l.cached(t); len(got) != 0 {
		t.Errorf("in the cache: %v", got)
	}
}

func TestCacheWaitCanBeGivenUp(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := cache{dir: l.CacheDir, progress: l.said}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := c.lock(t.Context(), "e")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.get(ctx, "e", "program", writes("never")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestCachePlaceThatCannotBeWrittenIsNamed(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	file := script(t, filepath.Join(l.bin, "file"), "")
	_, err := cache{dir: filepath.Join(file, "cache"), progress: l.said}.get(t.Context(), "e", "program", writes("never"))
	if err == nil {
		t.Fatal("no error")
	}
	mustContain(t, err.Error(), file, CacheVariable)
}
