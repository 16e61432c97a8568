package rathole

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// script makes an executable that stands for somebody's rathole.
func script(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rathole")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+strings.Join(lines, "\n")+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFindRealEngine(t *testing.T) {
	t.Parallel()
	b := realEngine(t)
	if b.Version != Version || !filepath.IsAbs(b.Path) || !slices.Contains(b.Features, "server") || !slices.Contains(b.Features, "client") {
		t.Errorf("%+v", b)
	}
}

func TestFindReadsFeatures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name             string
		lines            []string
		noise, hotReload bool
	}{
		{"hyphens and underscores", []string{`[ $1 = -V ] && echo "rathole 0.5.0" && exit`, `echo "cargo Features:      server,hot_reload,noise,tokio-util"`}, true, true},
		{"small build", []string{`[ $1 = -V ] && echo "rathole 0.5.0" && exit`, `echo; echo "cargo Features: client,server"`}, false, false},
		{"build from a tag that tells nothing", []string{`echo "rathole v0.5.0"`}, false, false},
		{"nothing of our environment", []string{`[ "$(env | grep -c HOME)" = 0 ] && echo "rathole 0.5.0"`}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, err := Find(t.Context(), script(t, tt.lines...))
			if err != nil {
				t.Fatal(err)
			}
			if !b.Supports(api.TransportTCP) || b.Supports(api.TransportNoise) != tt.noise || b.HotReload() != tt.hotReload {
				t.Errorf("%+v", b)
			}
			if b.Supports("quic") {
				t.Error("it supports what nobody knows")
			}
		})
	}
}

func TestFindSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	notExecutable := script(t, `echo "rathole 0.5.0"`)
	if err := os.Chmod(notExecutable, 0o644); err != nil {
		t.Fatal(err)
	}
	notAProgram := filepath.Join(t.TempDir(), "rathole")
	if err := os.WriteFile(notAProgram, []byte("hello"), 0o755); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	tests := []struct {
		name, path, want string
	}{
		{"missing", missing, missing + ": no such file or directory"},
		{"directory", t.TempDir(), "is a directory"},
		{"not executable", notExecutable, "permission denied"},
		{"not a program", notAProgram, "exec format error"},
		{"old version", script(t, `echo "rathole 0.4.8"`), `says "rathole 0.4.8", wanted "rathole 0.5.0"`},
		{"later commit", script(t, `echo "rathole v0.5.0-40-g5a9dd6d"`), `says "rathole v0.5.0-40-g5a9dd6d"`},
		{"other program", script(t, `printf 'GNU \033[31mls\n9.5\n'`), `says "GNU ls"`},
		{"fails", script(t, `echo "no libssl" >&2; exit 3`), `exit status 3: it says "no libssl"`},
		{"fails later", script(t, `[ $1 = -V ] && echo "rathole 0.5.0" && exit`, `exit 1`), "--version: exit status 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Find(t.Context(), tt.path)
			if !errors.Is(err, ErrNoEngine) {
				t.Fatalf("error %v, want ErrNoEngine", err)
			}
			for _, part := range []string{tt.want, tt.path, "RATHOLE_BINARY"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}

// A program that waits for ever is given up.
func TestFindGivesUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := Find(ctx, script(t, `exec sleep 30`))
	if !errors.Is(err, ErrNoEngine) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// Not parallel: PATH belongs to the process.
func TestFindInPath(t *testing.T) {
	path := script(t, `echo "rathole 0.5.0"`)
	t.Setenv("PATH", filepath.Dir(path)+":/usr/bin:/bin")
	b, err := Find(t.Context(), "")
	if err != nil || b.Path != path {
		t.Errorf("found %+v, %v", b, err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := Find(t.Context(), ""); !errors.Is(err, ErrNoEngine) || !strings.Contains(err.Error(), `looked for "rathole" in PATH`) {
		t.Errorf("error %v", err)
	}
}

func TestInstall(t *testing.T) {
	t.Parallel()
	source := script(t, `echo "rathole 0.5.0"`)
	state := t.TempDir()
	dir := filepath.Join(state, "engine")
	b := must[Binary](t)(Find(t.Context(), source))

	first := must[Binary](t)(Install(b, dir))
	want := filepath.Join(dir, Version+"-"+b.SHA256[:12], "rathole")
	if first.Path != want || first.Version != Version {
		t.Fatalf("installed %+v", first)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o711, filepath.Dir(want): 0o711, want: 0o755} {
		if got := stat(t, path).Mode().Perm(); got != mode {
			t.Errorf("%s has mode %o, want %o", path, got, mode)
		}
	}
	if again := must[Binary](t)(Find(t.Context(), first.Path)); again.Path != want {
		t.Errorf("found %+v", again)
	}

	before := stat(t, want)
	must[Binary](t)(Install(b, dir))
	must[Binary](t)(Install(first, dir)) // onto itself
	if !os.SameFile(before, stat(t, want)) || !before.ModTime().Equal(stat(t, want).ModTime()) {
		t.Error("the same bytes were written again")
	}

	// Another build of the same version lies beside it.
	other := must[Binary](t)(Find(t.Context(), script(t, `echo "rathole 0.5.0" # other`)))
	second := must[Binary](t)(Install(other, dir))
	if second.Path == want || !bytes.Equal(read(t, second.Path), read(t, other.Path)) || !os.SameFile(before, stat(t, want)) {
		t.Errorf("the other build is at %s", second.Path)
	}

	// What is not the build that its name tells is replaced, by rename, and an interrupted copy is swept.
	for _, path := range []string{want, filepath.Join(filepath.Dir(want), ".rathole-123")} {
		if err := os.WriteFile(path, []byte("torn"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must[Binary](t)(Install(b, dir))
	if !bytes.Equal(read(t, want), read(t, source)) || os.SameFile(before, stat(t, want)) || stat(t, want).Mode().Perm() != 0o755 {
		t.Error("the torn copy was not replaced by rename")
	}
	if entries := must[[]os.DirEntry](t)(os.ReadDir(filepath.Dir(want))); len(entries) != 1 {
		t.Errorf("left over: %v", entries)
	}

	// The file changes between being asked and being copied.
	if err := os.WriteFile(source, []byte("#!/bin/sh\necho rathole 0.5.0 too\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Install(b, t.TempDir()); err == nil || !strings.Contains(err.Error(), "changed while") {
		t.Errorf("a build under a false name: %v", err)
	}

	b.Path, b.SHA256 = filepath.Join(state, "missing"), strings.Repeat("0", 64)
	if _, err := Install(b, dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// A copy that fails half-way leaves no file behind.
func TestInstallCleansUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Install(Binary{Path: t.TempDir(), Version: Version, SHA256: "00"}, dir); err == nil {
		t.Fatal("a directory was installed")
	}
	if entries := must[[]os.DirEntry](t)(os.ReadDir(filepath.Join(dir, Version+"-00"))); len(entries) != 0 {
		t.Errorf("left over: %v", entries)
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	return must[os.FileInfo](t)(os.Stat(path))
}
