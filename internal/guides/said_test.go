package guides_test

import (
	"regexp"
	"strings"
	"testing"
)

// mustSay checks that what was said has what a page shows, in its order. How lines are broken and framed does not count, nor
// does what is said beside it; "…" in the page stands for anything.
func mustSay(t *testing.T, at, said, shown string) {
	t.Helper()
	if missing := missing(said, shown); missing != "" {
		t.Errorf("%s: nothing says, at its place:\n%s\nbut:\n%s", at, missing, said)
	}
}

// missing is the first part of what is shown that was not said.
func missing(said, shown string) string {
	rest := plain(said)
	for line := range strings.Lines(shown) {
		for part := range strings.SplitSeq(line, "…") {
			part = plain(part)
			_, after, found := strings.Cut(rest, part)
			if !found {
				return part
			}
			rest = after
		}
	}
	return ""
}

var frames = regexp.MustCompile(`[│╷╵\s]+`)

// plain is a text without the frame that Terraform puts around its messages, and with single spaces.
func plain(text string) string { return strings.TrimSpace(frames.ReplaceAllString(text, " ")) }

func TestMissing(t *testing.T) {
	t.Parallel()
	const said = "╷\n│ Error: Unable to reach agent\n│ \n│   with rathole_instance.one,\n│ \n│ It is not\n│ there: 13 ms.\n╵\n"
	for shown, want := range map[string]string{
		"Error: Unable to reach agent\nIt is not there: … ms.": "",
		"Unable to … agent":            "",
		"It is not there.":             "It is not there.",
		"It is not\nError: Unable":     "Error: Unable",
		"Unable to … agent one\nthere": "agent one",
	} {
		if got := missing(said, shown); got != want {
			t.Errorf("%q: %q is missing, want %q", shown, got, want)
		}
	}
}
