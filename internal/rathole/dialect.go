package rathole

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Limits of a config's text. They keep hostile input cheap: the parser's time grows with the square of a dotted key's
// length, and its stack with the depth of brackets. A config of 100 services has 20 KiB.
const (
	maxConfigBytes  = 256 << 10
	maxLineBytes    = 4 << 10
	maxBracketDepth = 16
)

// checkDialect finds what our TOML 1.1 parser would accept and rathole's TOML 0.5 parser would refuse or read
// differently; accepted here, it would make the engine exit at once. Where the text is not TOML at all it stops and
// leaves the message to the parser.
func checkDialect(text []byte) []problem {
	if len(text) > maxConfigBytes {
		return []problem{{message: fmt.Sprintf("the config has %d bytes, the limit is %d", len(text), maxConfigBytes)}}
	}
	for i, line := range bytes.Split(text, []byte("\n")) {
		if !utf8.Valid(line) {
			return []problem{{line: i + 1, message: "the config must be UTF-8"}}
		}
		if len(line) > maxLineBytes {
			return []problem{{line: i + 1, message: fmt.Sprintf("the line has %d bytes, the limit is %d", len(line), maxLineBytes)}}
		}
	}
	return (&dialect{text: text, line: 1}).scan()
}

type dialect struct {
	text  []byte
	at    int
	line  int
	open  []byte // brackets that are not closed yet
	last  byte   // last byte that was neither blank nor comment
	found []problem
}

func (d *dialect) refuse(message string) {
	d.found = append(d.found, problem{line: d.line, message: message})
}

func (d *dialect) scan() []problem {
	for d.at < len(d.text) {
		c := d.text[d.at]
		switch c {
		case '\n':
			if d.inside('{') {
				d.refuse("an inline table must stay on one line: rathole reads TOML 0.5")
			}
			d.line++
		case '\r':
			if !bytes.HasPrefix(d.text[d.at:], []byte("\r\n")) {
				d.refuse("a carriage return without a newline")
				return d.found
			}
		case ' ', '\t':
		case '#':
			d.comment()
			continue
		case '"', '\'':
			if !d.str(c) {
				return d.found
			}
			d.last = c
		case '[', '{':
			if len(d.open) == maxBracketDepth {
				d.refuse(fmt.Sprintf("brackets deeper than %d", maxBracketDepth))
				return d.found
			}
			d.open = append(d.open, c)
			d.last = c
		case ']', '}':
			if c == '}' && d.last == ',' {
				d.refuse("an inline table must not end with a comma: rathole reads TOML 0.5")
			}
			if len(d.open) > 0 {
				d.open = d.open[:len(d.open)-1]
			}
			d.last = c
		default:
			d.last = c
		}
		d.at++
	}
	return d.found
}

func (d *dialect) inside(bracket byte) bool {
	return len(d.open) > 0 && d.open[len(d.open)-1] == bracket
}

// comment goes to the end of the line, or to a carriage return, which scan judges.
func (d *dialect) comment() {
	if end := bytes.IndexAny(d.text[d.at:], "\r\n"); end >= 0 {
		d.at += end
		return
	}
	d.at = len(d.text)
}

// str goes to the closing quote. It returns false where scanning cannot go on.
func (d *dialect) str(quote byte) bool {
	if bytes.HasPrefix(d.text[d.at:], bytes.Repeat([]byte{quote}, 3)) {
		d.refuse("write the text on one line: multi-line strings are not accepted, because parsers differ in their line ends")
		return false
	}
	for d.at++; d.at < len(d.text); d.at++ {
		switch c := d.text[d.at]; {
		case c == quote:
			return true
		case c == '\n' || c == '\r':
			return false
		case c == '\\' && quote == '"':
			d.at++
			if d.at < len(d.text) && bytes.IndexByte([]byte(`ex`), d.text[d.at]) >= 0 {
				d.refuse(fmt.Sprintf(`the escape \%c is unknown to rathole, which reads TOML 0.5; write \u and four digits`, d.text[d.at]))
			}
		}
	}
	return false
}
