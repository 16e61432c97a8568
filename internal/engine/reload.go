package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// reloadWait is how long a running engine may take to notice a new config and to act on it; measured: 1-3 ms.
const reloadWait = time.Second

// Reload implements supervisor.Rules. Services are reloaded without harm to the others; any other change makes rathole
// restart itself inside, which a new process does better.
//
// The log says that an engine has noticed (under load one change in fifty is lost for good), the kernel that it has acted:
// a service that is changed or removed loses its control channel at once. What is not both within a second is false, and
// asks for a restart. Where the kernel has nothing to show, the reload is taken for done and noted in Doubts.
func (r Rules[S]) Reload(ctx context.Context, rec supervisor.Record[S], p supervisor.Process, old string, swap func() error) (bool, error) {
	before, restBefore, err := r.Parse(old)
	if err != nil {
		return false, err
	}
	after, restAfter, err := r.Parse(rec.Config)
	if err != nil || !reflect.DeepEqual(restBefore, restAfter) || !r.watches(ctx, p) {
		return false, err
	}
	e := effect{want: len(after), changed: old == rec.Config}
	for name, service := range before {
		if reflect.DeepEqual(after[name], service) {
			e.kept++
		} else {
			e.changed = true
		}
	}
	e.had, e.blind = r.Channels(ctx, rec, p)
	if old != rec.Config {
		return r.swap(ctx, rec, p, e, swap)
	}
	if reloadedSince(p, rec.UpdatedAt) {
		// A service that was killed meanwhile had replaced the file, and the engine took it. What it was connected to
		// before, nobody knows any more.
		r.Doubts.note(rec.ID, doubt{rec.Revision, p.PID, true}, len(e.had) > 0 || e.blind != nil)
		return true, nil
	}
	return r.swap(ctx, rec, p, e, swap)
}

// reloadedSince tells whether an engine's log has a reload after a time, and no refusal of a config.
func reloadedSince(p supervisor.Process, since time.Time) bool {
	lines, err := rathole.TailLog(p.Log, 1000)
	if err != nil {
		return false
	}
	kinds := map[rathole.Kind]bool{}
	for _, text := range lines {
		if line := rathole.ParseLine(text); line.Time.After(since) {
			kinds[line.Kind] = true
		}
	}
	return kinds[rathole.KindReloadDetected] && !kinds[rathole.KindConfigInvalid]
}

// logOf is where to read what an engine writes: its log; or the file that it has open, if its log was deleted or replaced
// under it. An engine would otherwise be restarted for a change that it took.
func logOf(p supervisor.Process) string {
	open := fmt.Sprintf("/proc/%d/fd/1", p.PID)
	its, err := os.Stat(open)
	if err != nil || !its.Mode().IsRegular() { // not for this service to see, or no file at all
		return p.Log
	}
	if named, err := os.Stat(p.Log); err == nil && os.SameFile(its, named) {
		return p.Log
	}
	return open
}

// swap replaces a running engine's config, and waits until it has taken it.
func (r Rules[S]) swap(ctx context.Context, rec supervisor.Record[S], p supervisor.Process, e effect, swap func() error) (bool, error) {
	log := logOf(p)
	info, err := os.Stat(log)
	if err != nil {
		return false, err
	}
	offset := info.Size()
	if err := swap(); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, reloadWait)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	noticed, seen := false, 0
	for {
		lines, next, err := rathole.ReadLog(log, offset, logWindow)
		if err != nil {
			return false, err
		}
		offset = next
		for _, text := range lines {
			switch line := rathole.ParseLine(text); line.Kind {
			case rathole.KindReloadDetected:
				noticed = true
			case rathole.KindConfigInvalid:
				return false, errors.New(line.Text)
			}
		}
		if noticed {
			if e.shown(r.Channels(ctx, rec, p)) {
				seen++
			} else {
				seen = 0
			}
		}
		// Seen twice: a dump of the kernel's is no snapshot, and may miss a socket whose neighbour comes or goes.
		if seen == 2 || noticed && !e.watched() {
			r.Doubts.note(rec.ID, doubt{rec.Revision, p.PID, e.want > e.kept}, e.blind != nil)
			return true, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if !noticed || e.certain() {
				return false, nil
			}
			r.Doubts.note(rec.ID, doubt{rec.Revision, p.PID, e.want > e.kept}, true)
			return true, nil
		}
	}
}

// effect is what a reload must do to an engine's control channels, of which it has one for each connected service. The
// kernel does not tell which service a channel belongs to: they are counted.
type effect struct {
	had     []sockets.Socket // before the reload
	blind   error            // why that is unknown
	kept    int              // services that stay as they are
	want    int              // services after the reload
	changed bool             // a service is changed or removed
}

// watched tells whether the channels have anything to show: somebody is connected, and a service is changed, or removed with
// its channel. A service that is only added, or removed after the other side has hung up, closes nothing.
func (e effect) watched() bool {
	return e.blind == nil && len(e.had) > 0 && (e.certain() || e.changed && e.want > e.kept)
}

// certain tells whether a channel must go: there are more than the services that stay can have.
func (e effect) certain() bool { return e.blind == nil && len(e.had) > e.kept }

// shown tells whether the channels show that the reload was carried out: the old ones that are left are no more than the
// services that stay. If that was so before, because the other side was reloaded first, it takes a channel for every service:
// the other side lets nobody in by an old token.
func (e effect) shown(now []sockets.Socket, err error) bool {
	if err != nil || !e.watched() {
		return false
	}
	old := map[channelKey]bool{}
	for _, s := range e.had {
		old[keyOf(s)] = true
	}
	left := 0
	for _, s := range now {
		if old[keyOf(s)] {
			left++
		}
	}
	if e.certain() {
		return left <= e.kept
	}
	return len(now) >= e.want
}

// channelKey is one connection.
type channelKey struct {
	local, remote netip.AddrPort
	inode         uint64
}

func keyOf(s sockets.Socket) channelKey { return channelKey{s.Local, s.Remote, s.Inode} }

// Services makes what Rules.Parse gives of a config's services.
func Services[T any](of map[string]T) map[string]any {
	all := make(map[string]any, len(of))
	for name, service := range of {
		all[name] = service
	}
	return all
}
