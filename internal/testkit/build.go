package testkit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/tools/obtain"
)

// Build builds programs of this module, by their packages, into a directory.
func Build(t testing.TB, bin string, packages ...string) {
	t.Helper()
	build(t, nil, bin+string(filepath.Separator), packages...)
}

// buildOnce is build for a program that many tests use: it is linked in one place of the cache, where go leaves it as it is
// unless something has changed, and each test is given a name for it that lasts. A change replaces the file and does not alter it.
func buildOnce(t testing.TB, to, pkg string) {
	t.Helper()
	cache, err := obtain.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	built := filepath.Join(cache, "tests", filepath.Clean(pkg), filepath.Base(to))
	if err := os.MkdirAll(filepath.Dir(built), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(built+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }() // which ends the lock
	err = unix.EINTR
	for errors.Is(err, unix.EINTR) {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		t.Fatalf("lock %s: %v", lock.Name(), err)
	}
	// Linked on the same file system it is renamed into its place. A copy that was cut short would be taken for the whole.
	build(t, []string{"GOTMPDIR=" + filepath.Dir(built)}, built, pkg)
	if os.Link(built, to) != nil { // on another file system
		build(t, nil, to, pkg)
	}
}

func build(t testing.TB, env []string, to string, packages ...string) {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatalf("find the root of the module: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build", "-o", to}, packages...)...)
	cmd.Dir, cmd.Env = strings.TrimSpace(string(root)), append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %v: %v\n%s", packages, err, out)
	}
}
