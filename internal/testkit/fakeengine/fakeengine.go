// Package fakeengine gives tests and benchmarks a stand-in for rathole that costs next to nothing: one thread and an
// eighth of a MiB, where the real one takes four threads and half a MiB or more. It is for speed and scale only: whether a
// tunnel works, the real engine says. That the services see the same of both, the tests beside it show, and the tests of
// package rathole that read the engine's log.
package fakeengine

import (
	"embed"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

//go:embed src
var source embed.FS

// Build compiles the stand-in and returns its path. It skips the test where there is no C compiler, which is rarer than
// it sounds: cargo, too, needs one to build the real engine.
func Build(t testing.TB) string {
	t.Helper()
	compiler, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("the stand-in for rathole needs a C compiler (cc)")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, source); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "src", "*.c"))
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "rathole")
	args := append([]string{"-O1", "-Wall", "-Wextra", "-Werror", "-o", binary}, files...)
	if out, err := exec.CommandContext(t.Context(), compiler, args...).CombinedOutput(); err != nil {
		t.Fatalf("compile the stand-in for rathole: %v\n%s", err, out)
	}
	return binary
}
