package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// oldSuffix names the file that a full one becomes.
const oldSuffix = ".1"

// file is the journal's part on disk. It is written without sync: what a power cut takes of it is history, not state.
type file struct {
	path string
	max  int64 // bytes
	f    *os.File
	size int64
	done bool // closed for good
}

// open reads the newest events, keep of them at most, and makes the file ready for more. cut tells that there were older
// ones. Lines that are torn or strange are passed over.
func (l *file) open(keep int) (found []api.Event, cut bool, err error) {
	text, err := readTail(l.path, l.max)
	lines := bytes.SplitAfter(text, []byte("\n"))
	if len(lines) <= keep {
		old, errOld := readTail(l.path+oldSuffix, l.max)
		lines = append(bytes.SplitAfter(old, []byte("\n")), lines...)
		err = errors.Join(err, errOld)
		cut = len(old) > 0 // it has replaced an older one, or will
	}
	if len(lines) > keep {
		// One more than events: what follows the last newline is empty, or torn.
		lines, cut = lines[max(0, len(lines)-keep-1):], true
	}
	for _, line := range lines {
		var e api.Event
		if json.Unmarshal(line, &e) == nil && e.ID > 0 {
			found = append(found, e)
		}
	}
	return found, cut, errors.Join(err, l.begin())
}

// readTail reads the end of a file that should not be longer than limit. A missing file is empty.
func readTail(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-2*limit), 2*limit))
}

// begin opens the file for appending. A last line that was torn by a crash or a full disk is ended, so that the next one
// stands alone.
func (l *file) begin() error {
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.f, l.size = f, info.Size()
	end := make([]byte, 1)
	if _, err := f.ReadAt(end, l.size-1); l.size > 0 && err == nil && end[0] != '\n' {
		return l.append([]byte("\n"))
	}
	return nil
}

// write appends whole lines. After an error nothing of them is in the file, as far as the disk allows, and the next call
// opens it anew: somebody may have made room, or another disk.
func (l *file) write(lines []byte) error {
	if l.done {
		return fs.ErrClosed
	}
	if l.f == nil {
		if err := l.begin(); err != nil {
			return err
		}
	}
	if l.size > 0 && l.size+int64(len(lines)) > l.max {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	return l.append(lines)
}

func (l *file) append(text []byte) error {
	n, err := l.f.Write(text)
	if err == nil {
		l.size += int64(n)
		return nil
	}
	// The cut is for a torn line; that of a device fails, and is as good.
	_ = l.f.Truncate(l.size)
	return errors.Join(fmt.Errorf("write %s: %w", l.path, err), l.release())
}

func (l *file) rotate() error {
	if err := os.Rename(l.path, l.path+oldSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := l.release(); err != nil {
		return err
	}
	return l.begin()
}

func (l *file) close() error {
	l.done = true
	return l.release()
}

func (l *file) release() error {
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return f.Close()
}
