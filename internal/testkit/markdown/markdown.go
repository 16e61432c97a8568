// Package markdown reads pages whose commands and messages tests run.
package markdown

import (
	"os"
	"strings"
	"testing"
)

// Section is what stands below one heading, up to the next of any level. What stands above the first has no title.
type Section struct {
	Title  string
	Text   string // all that is in no block
	Blocks []Block
}

// Block is a fenced piece of a section, or a comment that stands on a line of its own.
type Block struct {
	Language string // of a fence; a comment's is Comment
	Text     string
	Line     int // the first of its text, counted from 1
}

// Comment is the language of an HTML comment, which readers do not see.
const Comment = "<!-- -->"

// Read reads a page.
func Read(t testing.TB, path string) []Section {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sections, fenced, number := []Section{{}}, false, 0
	for line := range strings.Lines(string(text)) {
		number++
		s := &sections[len(sections)-1]
		language, fence := strings.CutPrefix(line, "```")
		level, title, heading := strings.Cut(line, " ")
		comment, commented := strings.CutPrefix(strings.TrimSpace(line), "<!-- ")
		comment, closed := strings.CutSuffix(comment, " -->")
		switch {
		case fence && !fenced:
			s.Blocks = append(s.Blocks, Block{Language: strings.TrimSpace(language), Line: number + 1})
			fenced = true
		case fence:
			fenced = false
		case fenced:
			s.Blocks[len(s.Blocks)-1].Text += line
		case commented && closed:
			s.Blocks = append(s.Blocks, Block{Language: Comment, Text: comment, Line: number})
		case heading && level != "" && strings.Trim(level, "#") == "":
			sections = append(sections, Section{Title: strings.TrimSpace(title)})
		default:
			s.Text += line
		}
	}
	if fenced {
		t.Fatalf("%s: a block is not closed", path)
	}
	return sections
}
