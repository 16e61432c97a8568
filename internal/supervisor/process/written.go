package process

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// written tells which logs were written to. The kernel says so through one watch on their directory: it costs nothing as
// long as nobody writes, where asking for the sizes of 1,000 logs each second takes 0.4 % of a core, and it says so at once.
type written struct {
	events *os.File // of an inotify instance

	mu      sync.Mutex
	grown   map[string]struct{} // units whose log was written to, since last asked
	lost    bool                // the kernel dropped events since last asked
	gone    bool                // the directory was removed, or nothing can be read any more: nobody tells again
	waiting map[string]map[chan struct{}]struct{}
}

// watchLogs takes an inotify instance. Without one everything works, and is asked for instead of told.
func watchLogs(dir string) (*written, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch the logs: %w", err)
	}
	w := &written{
		events: os.NewFile(uintptr(fd), "inotify"),
		grown:  map[string]struct{}{}, waiting: map[string]map[chan struct{}]struct{}{},
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY); err != nil {
		_ = w.events.Close()
		return nil, fmt.Errorf("watch the logs: %w", err)
	}
	return w, nil
}

// run reads what the kernel tells until events is closed.
func (w *written) run() {
	buf := make([]byte, 16<<10)
	for {
		n, err := w.events.Read(buf)
		w.mu.Lock()
		for b := buf[:max(n, 0)]; len(b) >= unix.SizeofInotifyEvent; {
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			w.note(binary.NativeEndian.Uint32(b[4:]), string(bytes.TrimRight(b[unix.SizeofInotifyEvent:end], "\x00")))
			b = b[end:]
		}
		w.gone = w.gone || err != nil
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// note takes over one event. The lock is held.
func (w *written) note(mask uint32, file string) {
	switch {
	case mask&unix.IN_Q_OVERFLOW != 0:
		w.lost = true
	case mask&unix.IN_IGNORED != 0:
		w.gone = true
	}
	id, isLog := strings.CutSuffix(file, logSuffix)
	if !isLog {
		return
	}
	w.grown[id] = struct{}{}
	for hint := range w.waiting[id] {
		select {
		case hint <- struct{}{}:
		default: // it has one already
		}
	}
}

// Wrote implements supervisor.Backend.
func (b *Backend) Wrote(id string) (hint <-chan struct{}, stop func()) {
	w := b.written
	if w == nil {
		return nil, func() {}
	}
	mine := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return nil, func() {}
	}
	if w.waiting[id] == nil {
		w.waiting[id] = map[chan struct{}]struct{}{}
	}
	w.waiting[id][mine] = struct{}{}
	return mine, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting[id], mine)
		if len(w.waiting[id]) == 0 {
			delete(w.waiting, id)
		}
	}
}

// Grown returns the units whose logs were written to since the last call. It is false if that is not known: any log may have
// grown. It is meant for one caller.
func (b *Backend) Grown() (map[string]struct{}, bool) {
	w := b.written
	if w == nil {
		return nil, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	grown, known := w.grown, !w.lost && !w.gone
	w.grown, w.lost = map[string]struct{}{}, false
	return grown, known
}
