package rathole

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	tailBlock = 16 << 10 // one step backwards
	maxTail   = 1 << 20  // bytes of a file that TailLog reads at most
)

// ReadLog gives the complete lines that begin at or after offset, at most limit bytes of them, without colour codes and
// with control characters escaped. next is where to go on: behind the last line given, before one that is still being
// written. A single line longer than limit comes in pieces. With limit 0 no line is read and next is the end of what is
// written so far: for a caller who wants only what comes. A file shorter than offset was truncated (it is rotated by copy
// and truncate) and is read from its beginning. A missing file is empty.
func ReadLog(path string, offset int64, limit int) (lines []string, next int64, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, offset, fmt.Errorf("read log: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, offset, fmt.Errorf("read log: %w", err)
	}
	if offset < 0 || info.Size() < offset {
		offset = 0
	}
	if limit <= 0 {
		next, err = endOfLines(f, offset, info.Size())
		return nil, next, err
	}
	text := make([]byte, min(int64(limit), info.Size()-offset))
	n, err := f.ReadAt(text, offset)
	if err != nil && !errors.Is(err, io.EOF) { // io.EOF: truncated since Stat
		return nil, offset, fmt.Errorf("read log: %w", err)
	}
	text = text[:n]
	end := bytes.LastIndexByte(text, '\n') + 1
	if end == 0 && n == limit {
		end = n
	}
	return split(text[:end]), offset + int64(end), nil
}

// endOfLines is the place behind the last newline, not before offset.
func endOfLines(f *os.File, offset, size int64) (int64, error) {
	block := make([]byte, tailBlock)
	for end := size; end > offset; {
		begin := max(offset, end-tailBlock)
		n, err := f.ReadAt(block[:end-begin], begin)
		if err != nil && !errors.Is(err, io.EOF) {
			return offset, fmt.Errorf("read log: %w", err)
		}
		if i := bytes.LastIndexByte(block[:n], '\n'); i >= 0 {
			return begin + int64(i) + 1, nil
		}
		end = begin
	}
	return offset, nil
}

// rotatedSuffix names what a log held before it was cut.
const rotatedSuffix = ".1"

// FollowLog is ReadLog for a reader who has read up to offset: if the log was cut since, what came between offset and the
// cut is read first, from <path>.1. What the engine wrote while the log was being cut is lost.
func FollowLog(path string, offset int64, limit int) (lines []string, next int64, err error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() < offset {
		if old, err := os.Stat(path + rotatedSuffix); err != nil || old.Size() < offset {
			return ReadLog(path, 0, limit)
		}
		lines, _, err = ReadLog(path+rotatedSuffix, offset, maxTail)
		return lines, 0, err
	}
	return ReadLog(path, offset, limit)
}

// LogSince gives the newest complete lines from a time on, n at most, oldest first, as ReadLog does, and where the log goes
// on behind them. The zero time is any. It goes back one MiB at most in the log, and as far in what was cut from it last. A
// line without a time belongs to the one before.
func LogSince(path string, since time.Time, n int) (lines []string, next int64, err error) {
	lines, next, err = lastLines(path, n)
	if err == nil && len(lines) < n {
		older, _, errOld := lastLines(path+rotatedSuffix, n-len(lines))
		lines, err = append(older, lines...), errOld
	}
	if err != nil {
		return nil, 0, err
	}
	lines = lines[max(0, len(lines)-n):]
	if since.IsZero() {
		return lines, next, nil
	}
	for i, line := range lines {
		if at := ParseLine(line).Time; !at.IsZero() && !at.Before(since) {
			return lines[i:], next, nil
		}
	}
	return nil, next, nil
}

// lastLines are the last n complete lines within the last MiB of a log, or some more, and where it goes on.
func lastLines(path string, n int) (lines []string, end int64, err error) {
	_, end, err = ReadLog(path, 0, 0)
	for window := int64(tailBlock); err == nil && end > 0; window *= 4 {
		begin := max(0, end-min(window, maxTail))
		lines, _, err = ReadLog(path, begin, int(end-begin))
		if begin > 0 && len(lines) > 0 {
			lines = lines[1:] // a piece
		}
		if begin == 0 || window >= maxTail || len(lines) >= n {
			break
		}
	}
	return lines, end, err
}

// TailLog gives the last n lines, oldest first, without colour codes and with control characters escaped. It reads
// backwards, one MiB at most. A last line without its newline counts. A missing file is empty.
func TailLog(path string, n int) ([]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	var text []byte
	for begin := info.Size(); begin > 0 && len(text) < maxTail; {
		step := min(begin, tailBlock)
		begin -= step
		block := make([]byte, step, int(step)+len(text))
		got, err := f.ReadAt(block, begin)
		if err != nil && !errors.Is(err, io.EOF) { // io.EOF: truncated since Stat
			return nil, fmt.Errorf("read log: %w", err)
		}
		text = append(block[:got], text...)
		// One newline more than lines, so that the first of them is whole.
		if bytes.Count(text, []byte("\n")) > n {
			break
		}
	}
	if len(text) >= maxTail && int64(len(text)) < info.Size() {
		_, text, _ = bytes.Cut(text, []byte("\n")) // the first line is a piece
	}
	lines := split(text)
	return lines[max(0, len(lines)-max(0, n)):], nil
}

func split(text []byte) []string {
	var lines []string
	for line := range bytes.Lines(text) {
		lines = append(lines, clean(strings.TrimSuffix(string(line), "\n")))
	}
	return lines
}

// clean takes colour codes out of a line and escapes what could move a terminal's cursor, forge a line or hide text. The
// engine writes such things only if a name or an error of the system holds them.
func clean(s string) string {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= ' ' && s[i] < 0x7f
	}
	if plain {
		return s
	}
	b := &strings.Builder{}
	for len(s) > 0 {
		if n := escapeSequence(s); n > 0 {
			s = s[n:]
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(b, `\x%02x`, s[0])
		case unicode.IsPrint(r):
			b.WriteString(s[:n])
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[n:]
	}
	return b.String()
}

// escapeSequence is the length of the terminal control sequence (ECMA-48 CSI) that s begins with, 0 for none.
func escapeSequence(s string) int {
	if !strings.HasPrefix(s, "\x1b[") {
		return 0
	}
	for i := 2; i < len(s); i++ {
		if s[i] >= 0x40 && s[i] <= 0x7e {
			return i + 1
		}
		if s[i] < 0x20 || s[i] > 0x7e {
			return 0
		}
	}
	return 0
}
