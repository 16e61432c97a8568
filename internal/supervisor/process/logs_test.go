package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTrim cuts a log under a writer that keeps it open: the writer goes on at the beginning, and nothing but the log that
// is too large is touched.
func TestTrim(t *testing.T) {
	t.Parallel()
	b, err := New(Config{Units: t.TempDir(), Logs: t.TempDir(), Flag: "-s", ConfigName: "x.toml"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
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
	write(strings.Repeat("x", 100))
	if err := os.WriteFile(b.logPath("small"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	strange := filepath.Join(b.cfg.Logs, "events.jsonl")
	if err := os.WriteFile(strange, []byte(strings.Repeat("y", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is an old one to be replaced
		if err := b.trim(50); err != nil {
			t.Fatal(err)
		}
		write("after")
	}
	for path, want := range map[string]string{
		strange: strings.Repeat("y", 100), b.logPath("large"): "afterafter", b.logPath("large") + oldSuffix: strings.Repeat("x", 100), b.logPath("small"): "kept",
	} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", filepath.Base(path), got, err, want)
		}
	}
	if err := os.Remove(strange); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"large", "small"} {
		if err := b.Clean(id); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(b.cfg.Logs); err != nil || len(left) != 0 {
		t.Errorf("after Clean: %v %v", left, err)
	}
}
