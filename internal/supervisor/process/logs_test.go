package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// TestTrim cuts a log under a writer that keeps it open: the writer goes on at the beginning, and nothing but the log that
// is too large is touched. A directory in the place of a log, a link, and files of others are left alone.
func TestTrim(t *testing.T) {
	t.Parallel()
	b, err := New(Config{Units: t.TempDir(), Logs: t.TempDir(), Flag: "-s", ConfigName: "x.toml"})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"large", "small", "directory", "link", "gone", "stuck"} {
		b.known[id] = &tracked{proc: supervisor.Process{ID: id, Log: b.logPath(id), ErrLog: b.errPath(id)}}
	}
	large, err := b.openLog(b.logPath("large"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = large.Close() }()
	write := func(text string) {
		t.Helper()
		if _, err := large.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("x", 100)
	write(long)
	foreign := filepath.Join(b.cfg.Logs, "syslog")
	for path, text := range map[string]string{
		b.logPath("small"): "kept", foreign: long, foreign + ".log": long, b.logPath("stuck"): long,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err = errors.Join(os.MkdirAll(filepath.Join(b.logPath("directory"), long), 0o700), os.Symlink(foreign, b.logPath("link")),
		os.Mkdir(b.logPath("stuck")+oldSuffix, 0o700)) // what is cut off has no place
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is an old one to be replaced
		if err := b.trim(50); err != nil && !strings.Contains(err.Error(), "stuck.log.1") {
			t.Fatal(err)
		}
		write("after")
	}
	for path, want := range map[string]string{
		b.logPath("large"): "afterafter", b.logPath("large") + oldSuffix: long, b.logPath("small"): "kept",
		b.logPath("stuck"): "", foreign: long, foreign + ".log": long,
	} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", filepath.Base(path), got, err, want)
		}
	}
	clear(b.known)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"large", "small", "link", "gone"} {
		if err := b.Clean(id); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(b.cfg.Logs, "*")); err != nil || len(left) != 5 {
		t.Errorf("after Clean: %v %v", left, err)
	}
}
