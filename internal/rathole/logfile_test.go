package rathole

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, path, text string) {
	t.Helper()
	f := create(t, path)
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// A reader follows a log that grows, is truncated and grows again.
func TestReadLogFollows(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	offset := int64(0)
	step := func(limit int, want ...string) {
		t.Helper()
		got, next, err := ReadLog(path, offset, limit)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("lines %q, want %q", got, want)
		}
		offset = next
	}
	step(100)
	write(t, path, "one\ntw")
	step(100, "one")
	step(100)
	add(t, path, "o\n\nfour\n")
	step(5, "two", "")
	step(100, "four")
	add(t, path, "longer than the limit\nsix\n")
	step(10, "longer tha")
	step(10, "n the limi")
	step(10, "t", "six")
	write(t, path, "new\n")
	step(100, "new")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	step(100)
	if offset != 0 {
		t.Errorf("offset %d after the file went", offset)
	}
	if _, _, err := ReadLog(t.TempDir(), 0, 100); err == nil {
		t.Error("a directory is read as a log")
	}
}

// With no limit the answer is where to begin for what comes.
func TestReadLogEnd(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	for text, want := range map[string]int64{
		"": 0, "par": 0, "one\n": 4, "one\npar": 4, "one\n" + strings.Repeat("x", 3*tailBlock): 4, strings.Repeat("x", 2*tailBlock): 0,
	} {
		write(t, path, text)
		lines, next, err := ReadLog(path, 0, 0)
		if err != nil || lines != nil || next != want {
			t.Errorf("%d bytes: %q, next %d, %v; want next %d", len(text), lines, next, err, want)
		}
	}
}

func TestTailLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	tail := func(n int) []string {
		t.Helper()
		return must[[]string](t)(TailLog(path, n))
	}
	if got := tail(10); len(got) != 0 {
		t.Errorf("a missing file has %q", got)
	}
	write(t, path, "")
	if got := tail(10); len(got) != 0 {
		t.Errorf("an empty file has %q", got)
	}
	write(t, path, "one\ntwo\nthree")
	for n, want := range map[int][]string{-1: {}, 0: {}, 1: {"three"}, 2: {"two", "three"}, 3: {"one", "two", "three"}, 9: {"one", "two", "three"}} {
		if got := tail(n); !slices.Equal(got, want) {
			t.Errorf("last %d: %q, want %q", n, got, want)
		}
	}
	// Lines of every length, so that blocks end at every place of a line.
	b := &strings.Builder{}
	var all []string
	for i := range 3000 {
		all = append(all, fmt.Sprintf("%d %s", i, strings.Repeat("x", i%97)))
		b.WriteString(all[i] + "\n")
	}
	write(t, path, b.String())
	for _, n := range []int{1, 250, 299, 300, 301, 1500, 2999, 3000, 5000} {
		if got, want := tail(n), all[max(0, len(all)-n):]; !slices.Equal(got, want) {
			t.Errorf("last %d: %d lines from %.20q, want %d from %.20q", n, len(got), got[0], len(want), want[0])
		}
	}
	// A flood is read from its end only, and no line of it is a piece.
	write(t, path, strings.Repeat("0123456789\n", 300_000))
	got := tail(1_000_000)
	if len(got) < maxTail/11-1 || len(got) > (maxTail+tailBlock)/11 || slices.ContainsFunc(got, func(s string) bool { return s != "0123456789" }) {
		t.Errorf("%d lines, the first is %q", len(got), got[0])
	}
}

func TestCleanTakesTheStingOut(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain":                           "plain",
		"\x1b[2m2026\x1b[0m \x1b[32mINFO": "2026 INFO",
		"\x1b]0;title\x07":                `\x1b]0;title\a`,
		"\x1b[":                           `\x1b[`,
		"\x1b[31\n":                       `\x1b[31\n`,
		"a\rb\x00c\td":                    `a\rb\x00c\td`,
		"\x7f":                            `\x7f`,
		"\xff\xfe":                        `\xff\xfe`,
		"é 日本":                            "é 日本",
		"\u202egnp.exe":                   `\u202egnp.exe`,
		"\u009b31m":                       `\u009b31m`,
		"\ufffd":                          "\ufffd",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
