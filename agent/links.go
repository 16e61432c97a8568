package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/limits"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

const (
	linkPeriod = 500 * time.Millisecond
	// hangsAfter is how long a connect may be unanswered until it counts as hanging. The kernel repeats its question after 1,
	// 3, 7, 15, 31 and 63 s, and gives up after 135 s; rathole sets no time of its own, and so comes back from a network that
	// was cut for a minute up to a minute late.
	hangsAfter = 2 * time.Second
	// stuckAfter is how long an engine may be without all of its channels and say nothing: one that tries says why it fails
	// each second or so.
	stuckAfter = 10 * time.Second
	// overdueGrace is how much longer than its heartbeat_timeout an engine may hold on to a silent server.
	overdueGrace = 5 * time.Second
	// A server is dialled each dialPeriod, and has as long to answer. Once it does, the engine has settleTime to connect by
	// itself.
	dialPeriod = 2 * time.Second
	settleTime = time.Second
	// maxDials bounds how many servers are dialled at once.
	maxDials = 32
	// lookupPeriod is how often the names of servers are resolved. A server counts as moved after so many answers in a row
	// that do not have the address to which its client is connected: names may have many addresses and tell some at a time.
	lookupPeriod = 10 * time.Second
	movedAfter   = 3
)

// The remedies for links; each is a new engine. Of one that has no channel at all no player can complain, so the first is only
// kept from being used in vain.
func remedyConnectHangs() service.Remedy {
	return service.Remedy{Reason: api.RestartConnectHangs, Every: 30 * time.Second, Hourly: 120}
}

func remedyStuck() service.Remedy {
	return service.Remedy{Reason: api.RestartClientStuck, Every: 30 * time.Second, Hourly: 6}
}

func remedyServerMoved() service.Remedy {
	return service.Remedy{Reason: api.RestartServerMoved, Every: 30 * time.Second, Hourly: 6}
}

// sight is what a look at the kernel has shown of a client's link.
type sight struct {
	at        time.Time
	pid       int
	connected int                  // control channels
	silent    time.Duration        // for how long the most silent of them has received nothing
	peers     []netip.Addr         // of the control channels
	dialling  map[uint64]time.Time // connects without an answer, by inode: since when
	partlyAt  time.Time            // since when channels are missing; zero if none is
	logSize   int64                // of the engine's log, while channels are missing
	quietAt   time.Time            // since when it has that size
}

// links brings clients back whose engines would take long to, or never do.
type links struct {
	list    func() []view
	get     func(id string) (view, error)
	restart func(ctx context.Context, id, reason, message string) error
	poke    func(id string)
	healing *service.Healing
	log     *slog.Logger

	mu    sync.Mutex
	seen  map[string]*sight
	moved map[string]int // how many answers in a row did not have a client's peer
	dials chan struct{}
	busy  sync.Map // of client ids: somebody is looking after the client
}

func newLinks() *links {
	return &links{seen: map[string]*sight{}, moved: map[string]int{}, dials: make(chan struct{}, maxDials)}
}

// note takes what a look has shown of a client.
func (l *links) note(v view, k kernelView, ours *sockets.Owned, now time.Time) {
	channels, dialling := k.channels(v.Record.Spec, ours.Has)
	if ours.Err() != nil {
		l.forget(v.Record.ID) // whose sockets they are cannot be told, and nothing may be concluded from that
		return
	}
	s := &sight{at: now, pid: v.Process.PID, connected: len(channels)}
	if len(dialling) > 0 {
		s.dialling = map[uint64]time.Time{}
	}
	for _, c := range channels {
		s.silent = max(s.silent, c.LastReceived)
		s.peers = append(s.peers, c.Remote.Addr())
	}
	if s.connected < len(v.Record.Spec.Services) {
		s.partlyAt, s.quietAt, s.logSize = now, now, logSize(v.Process.Log)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.seen[v.Record.ID]
	if before == nil || before.pid != s.pid {
		before = &sight{}
	}
	for _, c := range dialling {
		since, known := before.dialling[c.Inode]
		if !known {
			since = now
		}
		s.dialling[c.Inode] = since
	}
	if !s.partlyAt.IsZero() && !before.partlyAt.IsZero() {
		s.partlyAt = before.partlyAt
		if before.logSize == s.logSize {
			s.quietAt = before.quietAt
		}
	}
	l.seen[v.Record.ID] = s
}

func logSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// forget drops what is known of a client that is gone.
func (l *links) forget(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, id)
	delete(l.moved, id)
}

// trouble is what is wrong with a client's link so that a new engine would mend it; false if nothing is.
func (l *links) trouble(v view, now time.Time) (service.Remedy, string, bool) {
	if v.Phase != supervisor.PhaseRunning || len(v.Record.Spec.Services) == 0 {
		return service.Remedy{}, "", false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.seen[v.Record.ID]
	if s == nil || s.pid != v.Process.PID {
		return service.Remedy{}, "", false
	}
	for _, since := range s.dialling {
		if s.connected == 0 && now.Sub(since) >= hangsAfter {
			return remedyConnectHangs(), fmt.Sprintf("%s answers again, and the engine still waits for an answer from before: it gets a new process", v.Record.Spec.RemoteAddr), true
		}
	}
	if s.connected > 0 && s.silent > 2*overdueGrace && s.silent > patience(v)+overdueGrace {
		return remedyStuck(), fmt.Sprintf("the engine holds on to a server that has been silent for %s: it gets a new process", s.silent.Round(time.Second)), true
	}
	if !s.partlyAt.IsZero() && now.Sub(s.quietAt) >= stuckAfter && now.Sub(s.quietAt) > 2*retryInterval(v) && len(s.dialling) == 0 && writesLog(v) {
		return remedyStuck(), fmt.Sprintf("the engine has %d of %d control channels, and does not try to get the others: it gets a new process", s.connected, len(v.Record.Spec.Services)), true
	}
	if s.connected > 0 && l.moved[v.Record.ID] >= movedAfter {
		return remedyServerMoved(), fmt.Sprintf("%s has another address now, and answers there: the engine gets a new process", v.Record.Spec.remoteHost()), true
	}
	return service.Remedy{}, "", false
}

// patience is how long the client's engine waits for a sign of its server; rathole's default if the config does not say.
func patience(v view) time.Duration {
	const otherwise = 40 * time.Second
	c, err := rathole.ParseClient([]byte(v.Record.Config))
	if err != nil || c.HeartbeatTimeout == 0 {
		return otherwise
	}
	return time.Duration(c.HeartbeatTimeout) * time.Second
}

// retryInterval is how long the client's engine pauses between two tries at most; rathole's default if the config does not
// say.
func retryInterval(v view) time.Duration {
	longest := uint64(1)
	c, err := rathole.ParseClient([]byte(v.Record.Config))
	if err != nil {
		return time.Second
	}
	longest = max(longest, c.RetryInterval)
	for _, svc := range c.Services {
		if svc.RetryInterval != nil {
			longest = max(longest, *svc.RetryInterval)
		}
	}
	return time.Duration(longest) * time.Second
}

// writesLog tells whether the silence of an engine's log means anything.
func writesLog(v view) bool {
	return v.Process.LogTrouble == "" && limits.Unwritable(filepath.Dir(v.Process.Log)) == ""
}

// run looks after the links until ctx ends.
func (l *links) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { l.resolve(ctx) })
	tick := time.NewTicker(linkPeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, v := range l.list() {
			id := v.Record.ID
			if _, _, bad := l.trouble(v, time.Now()); !bad {
				continue
			}
			if _, busy := l.busy.LoadOrStore(id, nil); busy {
				continue
			}
			wg.Go(func() {
				defer l.busy.Delete(id)
				l.rescue(ctx, id)
			})
		}
	}
}

// rescue gives a client a new engine once its server answers, unless the present one connects by itself by then.
func (l *links) rescue(ctx context.Context, id string) {
	for {
		began := time.Now()
		v, err := l.get(id)
		if err != nil {
			return
		}
		if _, _, bad := l.trouble(v, began); !bad {
			return
		}
		if l.dial(ctx, v.Record.Spec.RemoteAddr) == nil {
			break
		}
		if !pause(ctx, dialPeriod-time.Since(began)) {
			return
		}
	}
	if !pause(ctx, settleTime) {
		return
	}
	asked := time.Now()
	for l.poke(id); !l.seenSince(id, asked); {
		if time.Since(asked) > dialPeriod || !pause(ctx, linkPeriod/10) {
			return
		}
	}
	v, err := l.get(id)
	if err != nil {
		return
	}
	remedy, message, bad := l.trouble(v, time.Now())
	if !bad || !l.healing.Begin(id, remedy, message) {
		return
	}
	l.mu.Lock()
	delete(l.moved, id)
	l.mu.Unlock()
	if err := l.restart(ctx, id, remedy.Reason, message); err != nil {
		l.log.Error("restart a client", "id", id, "reason", remedy.Reason, "error", err)
	}
}

func (l *links) seenSince(id string, at time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.seen[id]
	return s == nil || s.at.After(at)
}

// dial tells whether a server accepts connections.
func (l *links) dial(ctx context.Context, addr string) error {
	select {
	case l.dials <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.dials }()
	d := net.Dialer{Timeout: dialPeriod}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// resolve compares the addresses of the servers' names with those to which clients are connected, until ctx ends.
func (l *links) resolve(ctx context.Context) {
	for pause(ctx, lookupPeriod) {
		answers := map[string][]netip.Addr{}
		for _, v := range l.list() {
			host := v.Record.Spec.remoteHost()
			if _, err := netip.ParseAddr(host); err == nil {
				continue
			}
			if _, asked := answers[host]; !asked {
				answers[host] = lookup(ctx, host)
			}
			if len(answers[host]) > 0 {
				l.compare(v.Record.ID, answers[host])
			}
		}
	}
}

// lookup gives the addresses of a name; none if it cannot be resolved now.
func lookup(ctx context.Context, host string) []netip.Addr {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs
}

func (l *links) compare(id string, addrs []netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.seen[id]
	if s == nil || len(s.peers) == 0 || slices.ContainsFunc(s.peers, func(p netip.Addr) bool { return slices.Contains(addrs, p) }) {
		delete(l.moved, id)
		return
	}
	l.moved[id]++
}

// pause waits; false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
