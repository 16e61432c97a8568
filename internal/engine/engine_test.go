package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// lab is an engine's directory and the file that it is installed from.
type lab struct {
	path, dir string
	log       bytes.Buffer
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{path: filepath.Join(t.TempDir(), "rathole"), dir: filepath.Join(t.TempDir(), "engine")}
	l.put(t, "first")
	return l
}

// put makes another build of the file.
func (l *lab) put(t *testing.T, name string) {
	t.Helper()
	text := fmt.Sprintf("#!/bin/sh\necho \"rathole 0.5.0\" # %s\n", name)
	if err := os.WriteFile(l.path+".new", []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(l.path+".new", l.path); err != nil {
		t.Fatal(err)
	}
}

// open is a new start of the service.
func (l *lab) open(crash func(string)) *Engine {
	return New(Config{Path: l.path, Dir: l.dir, Program: "rathole-x", Log: slog.New(slog.NewTextHandler(&l.log, nil)), Crash: crash})
}

func mustBinary(t *testing.T, e *Engine) rathole.Binary {
	t.Helper()
	b, err := e.Binary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCurrentOutlivesTheFileItCameFrom(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	first := mustBinary(t, l.open(nil))
	if want := PathOf(l.dir, first.Name()); first.Path != want {
		t.Errorf("installed at %s, want %s", first.Path, want)
	}
	l.put(t, "second")
	e := l.open(nil)
	if now := mustBinary(t, e); now.Path != first.Path || now.SHA256 != first.SHA256 {
		t.Errorf("another start uses %+v, want %+v", now, first)
	}
	l.log.Reset()
	e.compare(t.Context())
	if said := l.log.String(); !strings.Contains(said, "rathole-x upgrade") || !strings.Contains(said, first.Name()) {
		t.Errorf("log: %s", said)
	}
	found, err := e.Found(t.Context())
	if err != nil || found.SHA256 == first.SHA256 || found.Path != l.path {
		t.Errorf("found %+v %v", found, err)
	}
	if err := os.Remove(l.path); err != nil {
		t.Fatal(err)
	}
	if now := mustBinary(t, l.open(nil)); now.SHA256 != first.SHA256 {
		t.Errorf("without the file: %+v", now)
	}
	if _, err := e.Found(t.Context()); err == nil {
		t.Error("found what is gone")
	}
}

// TestLostCurrentIsFoundAnew damages what is installed in each way there is.
func TestLostCurrentIsFoundAnew(t *testing.T) {
	t.Parallel()
	write := func(path, text string) error { return os.WriteFile(path, []byte(text), 0o755) }
	for name, tc := range map[string]struct {
		damage func(l *lab, b rathole.Binary) error
		says   string
	}{
		"no file":         {func(_ *lab, b rathole.Binary) error { return os.Remove(b.Path) }, "no such file"},
		"no directory":    {func(l *lab, b rathole.Binary) error { return os.RemoveAll(filepath.Dir(b.Path)) }, "no such file"},
		"does not run":    {func(_ *lab, b rathole.Binary) error { return write(b.Path, "#!/bin/sh\nexit 1\n") }, "exit status 1"},
		"other bytes":     {func(_ *lab, b rathole.Binary) error { return write(b.Path, "#!/bin/sh\necho rathole 0.5.0 #!\n") }, "the file was changed"},
		"note is empty":   {func(l *lab, _ rathole.Binary) error { return write(filepath.Join(l.dir, CurrentFile), "") }, "names no build"},
		"note leads out":  {func(l *lab, _ rathole.Binary) error { return write(filepath.Join(l.dir, CurrentFile), "../x\n") }, "names no build"},
		"note names none": {func(l *lab, _ rathole.Binary) error { return write(filepath.Join(l.dir, CurrentFile), "0.5.0-0123\n") }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			if err := tc.damage(l, mustBinary(t, l.open(nil))); err != nil {
				t.Fatal(err)
			}
			l.put(t, "second")
			l.log.Reset()
			e := l.open(nil)
			now := mustBinary(t, e)
			if found, err := e.Found(t.Context()); err != nil || found.SHA256 != now.SHA256 {
				t.Errorf("uses %+v, found %+v %v", now, found, err)
			}
			if !strings.Contains(l.log.String(), tc.says) {
				t.Errorf("log %q does not say %q", l.log.String(), tc.says)
			}
			if again := mustBinary(t, l.open(nil)); again.Path != now.Path {
				t.Errorf("the next start uses %+v", again)
			}
		})
	}
}

// TestLostWhileRunning removes the installed file under a service: the next start of a unit finds one.
func TestLostWhileRunning(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	e := l.open(nil)
	first := mustBinary(t, e)
	if err := os.RemoveAll(l.dir); err != nil {
		t.Fatal(err)
	}
	got, err := e.Program(t.Context(), "a")
	if err != nil || got.Path != first.Path {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := os.Stat(got.Path); err != nil {
		t.Error(err)
	}
}

// crashed is what a crash point panics with: the service is gone, and its files are what they are.
type crashed struct{ point string }

// TestCrashesWhileCurrentIsWritten leaves off at each crash point: the next start uses the old build or the new one, and an
// upgrade after it succeeds.
func TestCrashesWhileCurrentIsWritten(t *testing.T) {
	t.Parallel()
	for point, isNew := range map[string]bool{"engine.installed": false, "engine.written": false, "engine.renamed": true} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			first := mustBinary(t, l.open(nil))
			l.put(t, "second")
			upgrade := func(crash func(string)) (died bool) {
				defer func() {
					if r := recover(); r != nil {
						died = r == crashed{point}
					}
				}()
				e := l.open(crash)
				mustBinary(t, e)
				found, err := e.Found(t.Context())
				if err == nil {
					found, err = e.install(found)
				}
				if err == nil {
					err = e.writeCurrent(found)
				}
				if err != nil {
					t.Error(err)
				}
				return false
			}
			if !upgrade(func(at string) {
				if at == point {
					panic(crashed{point})
				}
			}) {
				t.Fatal("the crash point was not reached")
			}
			if now := mustBinary(t, l.open(nil)); (now.SHA256 != first.SHA256) != isNew {
				t.Errorf("after the crash: %s, before it %s", now.Name(), first.Name())
			}
			if upgrade(nil) {
				t.Fatal("it died without being told to")
			}
			e := l.open(nil)
			if now := mustBinary(t, e); now.SHA256 == first.SHA256 {
				t.Error("the second upgrade had no effect")
			}
			e.sweep(nil)
			entries, err := os.ReadDir(l.dir)
			if err != nil || len(entries) != 2 {
				t.Errorf("left: %v %v", entries, err)
			}
		})
	}
}

// TestRolloutChoosesForStarts is what starts get while an upgrade is under way, and after it.
func TestRolloutChoosesForStarts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	e := l.open(nil)
	old := mustBinary(t, e)
	l.put(t, "second")
	found, err := e.Found(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	to, err := e.install(found)
	if err != nil {
		t.Fatal(err)
	}
	gets := func(id string, want rathole.Binary) {
		t.Helper()
		if got, err := e.Program(context.Background(), id); err != nil || got.Path != want.Path {
			t.Errorf("%s starts with %s, want %s: %v", id, got.Name(), want.Name(), err)
		}
	}
	e.beginRollout()
	e.pin("a", to)
	gets("a", to)
	gets("b", old)
	if done, err := e.commit(to, func(chosen map[string]bool) bool { return chosen["b"] && !chosen["a"] }); done || err != nil {
		t.Errorf("committed although a start has taken the old build: %v %v", done, err)
	}
	e.pin("a", rathole.Binary{Path: filepath.Join(l.dir, "gone")})
	gets("a", old)
	if done, err := e.commit(to, func(map[string]bool) bool { return false }); !done || err != nil {
		t.Errorf("not committed: %v %v", done, err)
	}
	gets("b", to)
	e.endRollout()
	e.sweep(nil)
	gets("a", to)
	if _, err := os.Stat(old.Path); !os.IsNotExist(err) {
		t.Errorf("the old build, which nobody uses, is still there: %v", err)
	}
	if now := mustBinary(t, l.open(nil)); now.Path != to.Path {
		t.Errorf("the next start of the service uses %s", now.Name())
	}
}
