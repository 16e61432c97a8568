package obtain

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A cargo that builds the program it was asked for, if it was asked in the right way, and leaves what cargo leaves.
const goodCargo = `#!/bin/sh
[ "$*" = "install rathole --version 0.5.0 --no-default-features --features embedded --root $PWD" ] || { echo "asked: $*" >&2; exit 9; }
case "$CARGO_TARGET_DIR" in "$PWD"/*) ;; *) echo "target: $CARGO_TARGET_DIR" >&2; exit 8;; esac
mkdir -p "$CARGO_TARGET_DIR/release" bin && echo junk >"$CARGO_TARGET_DIR/release/big.o" && echo junk >.crates.toml
echo "   Compiling rathole v0.5.0" >&2
printf '#!/bin/sh\necho rathole 0.5.0\n' >bin/rathole && chmod 755 bin/rathole
`

const badCargo = "#!/bin/sh\necho '   Compiling openssl-sys' >&2\necho 'error: linker `cc` not found' >&2\nexit 101\n"

func (l *lab) rathole(t *testing.T, a asset) (string, error) {
	t.Helper()
	return engine{Options: l.withDefaults(), asset: a, patience: l.patience}.obtain(t.Context())
}

func TestRatholeOfTheMachineIsUsed(t *testing.T) {
	t.Parallel()
	t.Run("RATHOLE_BINARY before PATH", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		l.has(t, "rathole", goodRathole)
		chosen := script(t, filepath.Join(t.TempDir(), "mine"), goodRathole)
		l.environment["RATHOLE_BINARY"] = chosen
		if got, err := l.rathole(t, asset{}); err != nil || got != chosen {
			t.Errorf("got %q, %v, want %q", got, err, chosen)
		}
	})
	t.Run("RATHOLE_BINARY of another version is an error", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		l.has(t, "rathole", goodRathole)
		l.environment["RATHOLE_BINARY"] = script(t, filepath.Join(t.TempDir(), "mine"), otherRathole)
		_, err := l.rathole(t, asset{})
		if err == nil {
			t.Fatal("no error")
		}
		mustContain(t, err.Error(), "RATHOLE_BINARY", "0.4.8", "0.5.0")
	})
	t.Run("PATH, another version passed over", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		l.has(t, "rathole", otherRathole)
		second := script(t, filepath.Join(t.TempDir(), "rathole"), goodRathole)
		l.environment["PATH"] += ":relative:" + filepath.Dir(second)
		if got, err := l.rathole(t, asset{}); err != nil || got != second {
			t.Errorf("got %q, %v, want %q", got, err, second)
		}
		mustContain(t, l.said.String(), "passed over", "0.4.8")
	})
	t.Run("nothing is cached then", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		l.has(t, "rathole", goodRathole)
		if _, err := l.rathole(t, asset{}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(l.CacheDir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the cache was made: %v", err)
		}
	})
}

func TestRatholeComesFromTheRelease(t *testing.T) {
	t.Parallel()
	archive, sum := zipOf(t, "rathole", goodRathole)
	var asked string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path
		_, _ = w.Write(archive)
	}))
	t.Cleanup(server.Close)
	l := newLab(t)
	l.DownloadURL = ""
	l.environment["RATHOLE_DOWNLOAD_URL"] = server.URL
	path, err := l.rathole(t, asset{"rathole-some-target.zip", sum})
	if err != nil {
		t.Fatal(err)
	}
	if asked != "/v0.5.0/rathole-some-target.zip" {
		t.Errorf("asked for %s", asked)
	}
	if got := l.cached(t); len(got) != 2 || filepath.Join(l.CacheDir, got[0]) != path {
		t.Errorf("in the cache: %v, path %s", got, path)
	}
	server.Close() // and from now on from the cache
	if again, err := l.rathole(t, asset{"rathole-some-target.zip", sum}); err != nil || again != path {
		t.Errorf("second time: %q, %v, want %q", again, err, path)
	}
}

func TestRatholeIsBuiltWhereTheReleaseIsNotToBeHad(t *testing.T) {
	t.Parallel()
	archive, sum := zipOf(t, "rathole", goodRathole)
	_, sumOfOther := zipOf(t, "rathole", otherRathole)
	foreign, sumOfForeign := zipOf(t, "rathole", "#!/lib/ld-of-another-libc.so\n")
	empty, sumOfEmpty := zipOf(t, "README", "no program")
	released := asset{"rathole-some-target.zip", sum}
	gone := make(chan struct{})
	t.Cleanup(func() { close(gone) })
	tests := map[string]struct {
		asset  asset
		answer http.HandlerFunc // nil: nothing listens
		reason string
	}{
		"refused":              {released, nil, "connection refused"},
		"no such machine":      {asset{}, nil, "none for this kind of machine"},
		"404":                  {released, http.NotFound, "404 Not Found"},
		"403 of a proxy":       {released, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "403"},
		"another file":         {asset{"rathole-some-target.zip", sumOfOther}, send(archive), "its sha256 is"},
		"truncated":            {released, sendHalf(archive), "broken off"},
		"cut by a middlebox":   {released, send(archive[:len(archive)/2]), "its sha256 is"},
		"too large":            {released, send(make([]byte, maxZip+1)), "more than"},
		"hangs before answer":  {released, func(http.ResponseWriter, *http.Request) { <-gone }, "sent nothing for 200ms"},
		"hangs in the middle":  {released, hangAfterHalf(archive, gone), "sent nothing for 200ms"},
		"does not run here":    {asset{"rathole-some-target.zip", sumOfForeign}, send(foreign), "does not run here"},
		"no program in it":     {asset{"rathole-some-target.zip", sumOfEmpty}, send(empty), "rathole"},
		"an HTML page instead": {released, send([]byte("<html>please log in</html>")), "its sha256 is"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.has(t, "cargo", goodCargo)
			if test.answer != nil {
				server := httptest.NewServer(test.answer)
				t.Cleanup(server.CloseClientConnections)
				l.DownloadURL = server.URL
			}
			if strings.HasPrefix(name, "hangs") {
				l.patience = 200 * time.Millisecond
			}
			path, err := l.rathole(t, test.asset)
			if err != nil {
				t.Fatal(err)
			}
			if got := l.cached(t); len(got) != 2 || filepath.Join(l.CacheDir, got[0]) != path {
				t.Errorf("in the cache: %v, path %s", got, path)
			}
			mustContain(t, l.said.String(), test.reason, "with cargo")
		})
	}
}

func TestRatholeNowhereToBeHadSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cargo string
		want  []string
	}{
		"no cargo":              {"", []string{"cargo is not in PATH"}},
		"cargo fails":           {badCargo, []string{"exit status 101", "linker `cc` not found"}},
		"cargo builds another":  {"#!/bin/sh\nmkdir bin; printf '#!/bin/sh\\necho rathole 0.6.0\\n' >bin/rathole; chmod 755 bin/rathole\n", []string{"0.6.0"}},
		"cargo builds nothing":  {"#!/bin/sh\nexit 0\n", []string{"cargo install", "no such file"}},
		"cargo does not start":  {"#!/no/such/interpreter\n", []string{"no such file"}},
		"cargo says nothing":    {"#!/bin/sh\nexit 3\n", []string{"exit status 3", "it says nothing"}},
		"cargo is not runnable": {"not a program", []string{"exec format error"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			if test.cargo != "" {
				l.has(t, "cargo", test.cargo)
			}
			_, err := l.rathole(t, asset{"rathole-some-target.zip", "00"})
			if err == nil {
				t.Fatal("no error")
			}
			mustContain(t, err.Error(), append(test.want, "connection refused", "RATHOLE_BINARY", "rustup.rs")...)
			if got := l.cached(t); len(got) != 0 {
				t.Errorf("in the cache: %v", got)
			}
		})
	}
}

func TestRatholeBuildEndsWithTheCaller(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	pipe := filepath.Join(t.TempDir(), "alive")
	l.has(t, "cargo", "#!/bin/sh\nsh -c 'echo compiling >"+pipe+"; exec sleep 600' &\nwait\n")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := engine{Options: l.withDefaults(), patience: time.Second}.obtain(ctx)
		done <- err
	}()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(pipe); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the build never began")
		}
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	// A compiler left behind would hold the output open for WaitDelay.
	case <-time.After(4 * time.Second):
		t.Error("the compiler outlived the caller")
		t.Log(<-done)
	}
	if got := l.cached(t); len(got) != 0 {
		t.Errorf("in the cache: %v", got)
	}
}

func send(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }
}

// sendHalf promises all of it: a connection that breaks.
func sendHalf(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		_, _ = w.Write(body)
	}
}

func hangAfterHalf(body []byte, until <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		_, _ = w.Write(body)
		_ = http.NewResponseController(w).Flush()
		<-until
	}
}
