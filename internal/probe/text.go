package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"unicode"
)

// maxText is how much of a game's text is passed on, in characters.
const maxText = 128

// clean makes text of a stranger fit for a log, a terminal or a page: valid UTF-8, nothing that moves the cursor or turns the
// direction of writing, no more than maxText characters.
func clean(text string) string {
	kept := make([]rune, 0, maxText)
	for _, r := range text {
		if len(kept) == maxText {
			break
		}
		if unicode.IsGraphic(r) {
			kept = append(kept, r)
		}
	}
	return strings.TrimSpace(string(kept))
}

// uncoloured is text of Minecraft without its formatting codes: a section sign and a character.
func uncoloured(text string) string {
	var b strings.Builder
	skip := false
	for _, r := range text {
		switch {
		case skip:
			skip = false
		case r == '§':
			skip = true
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// count is a number of players; nil for what is none.
func count(n int) *int {
	if n < 0 {
		return nil
	}
	return &n
}

func countText(text string) *int {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return nil
	}
	return count(int(n))
}

var errShort = errors.New("it is cut short")

// reader takes little-endian values off a datagram. Once it is short it stays so, and gives zeros.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.rest) {
		r.rest, r.short = nil, true
	}
	if r.short {
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) uint8() uint8 {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// text takes text that ends with a zero byte.
func (r *reader) text() string {
	end := bytes.IndexByte(r.rest, 0)
	if end < 0 {
		r.rest, r.short = nil, true
		return ""
	}
	return string(r.bytes(end + 1)[:end])
}
