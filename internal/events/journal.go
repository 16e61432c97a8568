// Package events keeps what happened to instances and clients, and why: the newest events in memory, and as JSON lines in a
// file that is bounded and outlives the service.
package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// FileName is the journal's name in a service's log directory. No unit's log can have it: those end in .log and .err.
const FileName = "events.jsonl"

// IsFile tells whether a name in the log directory is that of a journal's file, the present one or the one before.
func IsFile(name string) bool { return name == FileName || name == FileName+oldSuffix }

const (
	// DefaultKeep is how many events are in memory: some 3 MB, and the whole life of a few hundred instances.
	DefaultKeep = 10_000
	// DefaultMaxFile is the size in bytes at which the file becomes <file>.1, in place of an older one.
	DefaultMaxFile = 4 << 20
	// maxUnsaved bounds, in bytes, what waits for a disk that takes nothing.
	maxUnsaved = 1 << 20
	// maxText bounds a reason's or message's length in bytes: an engine's last words may be long.
	maxText = 500
)

// Options change the bounds of a Journal; 0 is the default.
type Options struct {
	Keep    int
	MaxFile int64
	Log     *slog.Logger // required: told once when the file fails, and once when it works again
}

// Journal is the list of events of one service. It may be used by many goroutines.
type Journal struct {
	keep int
	log  *slog.Logger

	mu      sync.Mutex
	ring    []api.Event   // oldest at first once it is full
	first   int           // index of the oldest
	last    int64         // id of the newest event ever
	lost    int64         // id of the newest event that is no longer in the ring
	changed chan struct{} // closed and replaced at each Append
	file    file
	unsaved []byte // lines that the disk has not taken yet
	failing bool
}

// Open reads back what path holds and goes on from there. It does not fail: without its file a journal keeps its events in
// memory, and says so.
func Open(path string, o Options) *Journal {
	if o.Keep == 0 {
		o.Keep = DefaultKeep
	}
	if o.MaxFile == 0 {
		o.MaxFile = DefaultMaxFile
	}
	j := &Journal{keep: o.Keep, log: o.Log, changed: make(chan struct{}), file: file{path: path, max: o.MaxFile}}
	found, cut, err := j.file.open(o.Keep)
	if err != nil {
		j.fail(err)
	}
	for _, e := range found {
		if e.ID > j.last { // a line that was written twice, or damaged so that it still reads
			j.last = e.ID
			j.push(e)
		}
	}
	if cut && len(j.ring) > 0 {
		j.lost = j.ring[0].ID - 1
	}
	return j
}

// Append notes an event: it gets its id, and its time if it has none. It waits for no follower.
func (j *Journal) Append(e api.Event) api.Event {
	e.Reason, e.Message = shorten(e.Reason), shorten(e.Message)
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC().Truncate(time.Microsecond)
	// Made of the clock, so that no id comes twice even if the file that tells the last one is lost.
	e.ID = max(j.last+1, time.Now().UnixMicro())
	j.last = e.ID
	j.push(e)
	j.save(e)
	close(j.changed)
	j.changed = make(chan struct{})
	return e
}

func (j *Journal) push(e api.Event) {
	if len(j.ring) < j.keep {
		j.ring = append(j.ring, e)
		return
	}
	j.lost = j.ring[j.first].ID
	j.ring[j.first] = e
	j.first = (j.first + 1) % j.keep
}

// at is the n-th oldest event in memory.
func (j *Journal) at(n int) api.Event { return j.ring[(j.first+n)%len(j.ring)] }

// save writes what is not yet on disk. What a full disk did not take is written once it takes something again.
func (j *Journal) save(e api.Event) {
	line, err := json.Marshal(e)
	if err != nil {
		j.fail(err)
		return
	}
	if len(j.unsaved) > maxUnsaved {
		j.unsaved = nil
	}
	j.unsaved = append(append(j.unsaved, line...), '\n')
	switch err := j.file.write(j.unsaved); {
	case errors.Is(err, fs.ErrClosed):
		return
	case err != nil:
		j.fail(err)
		return
	}
	j.unsaved = nil
	if j.failing {
		j.failing = false
		j.log.Info("the journal of events is written again", "file", j.file.path)
	}
}

func (j *Journal) fail(err error) {
	if j.failing {
		return
	}
	j.failing = true
	j.log.Error("the journal of events cannot be written: events are kept in memory until it can", "file", j.file.path, "error", err)
}

// All returns every event in memory, oldest first.
func (j *Journal) All() []api.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make([]api.Event, len(j.ring))
	for n := range all {
		all[n] = j.at(n)
	}
	return all
}

// Last is the id of the newest event, 0 if there never was one.
func (j *Journal) Last() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// Close lets go of the file. Events that are still appended stay in memory.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.close()
}

func shorten(s string) string {
	if len(s) <= maxText {
		return s
	}
	return string(bytes.ToValidUTF8([]byte(s[:maxText]), nil)) + "…"
}
