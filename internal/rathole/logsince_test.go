package rathole

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLogSince(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.log")
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	line := func(minute int) string {
		return noon.Add(time.Duration(minute)*time.Minute).Format("2006-01-02T15:04:05.000000Z") + "  INFO rathole::server: " + fmt.Sprint(minute)
	}
	write(t, path+rotatedSuffix, line(0)+"\n"+line(1)+"\n")
	text := line(2) + "\n\x1b[31mno time\x1b[0m\n" + line(3) + "\n"
	write(t, path, text+"half a li")
	for name, tc := range map[string]struct {
		since int // minute; -1: any
		n     int
		want  []string
	}{
		"the newest":           {-1, 2, []string{"no time", line(3)}},
		"into the old file":    {-1, 4, []string{line(1), line(2), "no time", line(3)}},
		"all":                  {-1, 100, []string{line(0), line(1), line(2), "no time", line(3)}},
		"none":                 {-1, 0, nil},
		"since":                {2, 100, []string{line(2), "no time", line(3)}},
		"since, in the old":    {1, 100, []string{line(1), line(2), "no time", line(3)}},
		"the newest of since":  {1, 1, []string{line(3)}},
		"since later than all": {4, 100, nil},
	} {
		since := time.Time{}
		if tc.since >= 0 {
			since = noon.Add(time.Duration(tc.since) * time.Minute)
		}
		got, next, err := LogSince(path, since, tc.n)
		if err != nil || !slices.Equal(got, tc.want) || next != int64(len(text)) {
			t.Errorf("%s: %q, next %d (%v); want %q, %d", name, got, next, err, tc.want, len(text))
		}
	}
	if got, next, err := LogSince(path+"none", time.Time{}, 10); err != nil || len(got) != 0 || next != 0 {
		t.Errorf("a missing log: %q %d %v", got, next, err)
	}
}

func TestLogSinceOfALongLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.log")
	var all []string
	for n := range 30_000 {
		all = append(all, fmt.Sprintf("%06d %s", n, strings.Repeat("x", 93)))
	}
	write(t, path, strings.Join(all, "\n")+"\n")
	for _, n := range []int{1, 100, 5000} {
		if got, _, err := LogSince(path, time.Time{}, n); err != nil || !slices.Equal(got, all[len(all)-n:]) {
			t.Errorf("the last %d lines: %d, %v", n, len(got), err)
		}
	}
	if got, _, err := LogSince(path, time.Time{}, 1_000_000); err != nil || len(got) < 10_000 || !slices.Equal(got, all[len(all)-len(got):]) {
		t.Errorf("as many as there are: %d, %v", len(got), err)
	}
}

// TestFollowLog reads on over a cut: what was there before it comes from the file that it was copied to.
func TestFollowLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.log")
	write(t, path, "a\nb\n")
	offset := int64(2)
	read := func(want ...string) {
		t.Helper()
		lines, next, err := FollowLog(path, offset, 1000)
		if err != nil || !slices.Equal(lines, want) {
			t.Errorf("%q (%v), want %q", lines, err, want)
		}
		offset = next
	}
	read("b")
	read()
	write(t, path+rotatedSuffix, "a\nb\nc\nd\n")
	write(t, path, "")
	read("c", "d")
	write(t, path, "e\n")
	read("e")
	// A log that was emptied without being copied is begun again.
	write(t, path, "e\nf\n")
	read("f")
	write(t, path+rotatedSuffix, "x\n")
	write(t, path, "g\n")
	read("g")
}
