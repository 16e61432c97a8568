package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// The forms in which findings are printed.
const (
	Table = "table"
	JSON  = "json"
)

// Report prints the findings to w and returns an error if one failed.
func Report(w io.Writer, form string, findings []Finding) error {
	show := printTable
	if form == JSON {
		show = printJSON
	}
	if err := show(w, findings); err != nil {
		return fmt.Errorf("print the findings: %w", err)
	}
	failed := 0
	for _, f := range findings {
		if f.Status == Fail {
			failed++
		}
	}
	switch failed {
	case 0:
		return nil
	case 1:
		return errors.New("1 check failed")
	}
	return fmt.Errorf("%d checks failed", failed)
}

func printJSON(w io.Writer, findings []Finding) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false) // a mend may be a command with > in it
	return out.Encode(map[string][]Finding{"checks": findings})
}

func printTable(w io.Writer, findings []Finding) error {
	colours := map[Status]string{"STATUS": "39", OK: "32", Warn: "33", Fail: "31"}
	paint := func(s Status) string { return string(s) }
	if colourful(w) {
		// Every cell of the column, its head too, gets as many invisible bytes, or the columns would not stand in line.
		paint = func(s Status) string { return "\x1b[" + colours[s] + "m" + string(s) + "\x1b[0m" }
	}
	var text bytes.Buffer
	out := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, f := range append([]Finding{{"CHECK", "STATUS", "VALUE", "MEND"}}, findings...) {
		// A write to memory does not fail.
		_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", f.Check, paint(f.Status), oneLine(f.Value), oneLine(f.Mend))
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		// Where there is nothing to mend the line would end in blanks, and fold on a narrow terminal.
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// oneLine keeps a text within its cell: errors that were joined have line ends.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// colourful tells whether w is a terminal whose user has nothing against colours (https://no-color.org).
func colourful(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
