// Package terminal prints what people read: tables, and colours where somebody sees them. What goes into a pipe or a file
// is the same text without colours.
package terminal

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"

	"golang.org/x/sys/unix"
)

// Colour is a colour of text, as a terminal's number for it. All have as many digits, on which Table relies.
type Colour string

// The colours in use. Plain is the terminal's own.
const (
	Plain  Colour = "39"
	Green  Colour = "32"
	Yellow Colour = "33"
	Red    Colour = "31"
)

// Is tells whether w is a terminal.
func Is(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Colourful tells whether w is a terminal whose user has nothing against colours.
func Colourful(w io.Writer) bool { return Colours(Is(w), os.Getenv) }

// Colours is the rule of Colourful (https://no-color.org).
func Colours(isTerminal bool, env func(string) string) bool {
	return isTerminal && env("NO_COLOR") == "" && env("TERM") != "dumb"
}

// Paint colours a text if w shows colours.
func Paint(w io.Writer, c Colour, text string) string {
	if !Colourful(w) {
		return text
	}
	return paint(c, text)
}

func paint(c Colour, text string) string { return "\x1b[" + string(c) + "m" + text + "\x1b[0m" }

// Table prints rows in columns; the first row is the head. If w shows colours, the column of that number gets the colour
// that colour says for a cell's text; a number below 0 is no column.
func Table(w io.Writer, rows [][]string, column int, colour func(text string) Colour) error {
	coloured := column >= 0 && Colourful(w)
	var text bytes.Buffer
	out := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for n, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = Line(cell)
			if coloured && i == column {
				// Every cell of the column, its head too, gets as many invisible bytes, or the columns would not stand in line.
				c := Plain
				if n > 0 {
					c = colour(cell)
				}
				cells[i] = paint(c, cells[i])
			}
		}
		_, _ = fmt.Fprintln(out, strings.Join(cells, "\t")) // a write to memory does not fail
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		// A row whose last cells are empty would end in blanks, and fold on a narrow terminal.
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// Line keeps a text on one line and harmless: errors that were joined have line ends.
func Line(s string) string { return Harmless(strings.Join(strings.Fields(s), " ")) }

// Harmless takes out of a text what would move a terminal's cursor or hide something: it may come from another machine.
func Harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\t' {
			return r
		}
		return '�'
	}, s)
}
