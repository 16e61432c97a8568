// Package flow keeps long-lived TCP and UDP flows through tunnels, with a number on each message, and reports all that a
// player would notice: a break, a loss, a wrong order, a pause; and all that a game would: a player's new address.
package flow

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// defaultRate is the pause between two messages of a flow; games send 20 to 60 times a second.
	defaultRate = 50 * time.Millisecond
	// dialTimeout bounds the connect of a TCP flow.
	dialTimeout = 5 * time.Second
	// defaultSettle is far above any round trip, also on a machine that is busy with something else.
	defaultSettle = 3 * time.Second
	// maxFindings bounds Report.Findings.
	maxFindings = 20
)

// Config says which flows to keep.
type Config struct {
	// Targets are the public addresses of tunnels, host:port, behind each of which a Game answers.
	Targets []string
	// TCP and UDP are how many flows of each protocol go to each target.
	TCP, UDP int
	// Rate is the pause between two messages of one flow. Default 50 ms.
	Rate time.Duration
	// Settle is how long Stop waits for the answers that are still on their way. Default 3 s.
	Settle time.Duration
}

// Report is what became of the flows. All but Flows, Sent, LongestGap and Dropped are 0 where nothing was noticed.
type Report struct {
	Flows int
	Sent  int // messages
	// Broken counts the flows that could not be opened, or ended with an error.
	Broken int
	// Lost counts the messages of unbroken flows that were never answered.
	Lost int
	// Reordered counts the answers that came out of order, more than once, or damaged.
	Reordered int
	// Moved counts how often a game saw a flow come from another address than before.
	Moved int
	// LongestGap is the longest time in which a flow had no answer while it was waiting for one.
	LongestGap time.Duration
	// Dropped is how many packets the kernel threw away meanwhile, anybody's: if it is not 0, lost datagrams may be among them.
	Dropped int
	// Findings describes the first of them.
	Findings []string
}

// Clean tells whether no player and no game noticed anything but pauses.
func (r Report) Clean() bool { return r.Broken+r.Lost+r.Reordered+r.Moved == 0 }

// String is a report on one line, and the findings on lines of their own.
func (r Report) String() string {
	text := fmt.Sprintf("%d flows, %d messages: %d broken, %d lost, %d reordered, %d moved, longest gap %s",
		r.Flows, r.Sent, r.Broken, r.Lost, r.Reordered, r.Moved, r.LongestGap.Round(time.Millisecond))
	if r.Dropped > 0 {
		text += fmt.Sprintf("; the kernel dropped %d packets of anybody's", r.Dropped)
	}
	return strings.Join(append([]string{text}, r.Findings...), "\n\t")
}

// Checker keeps flows until Stop.
type Checker struct {
	flows              []*flow
	stop               context.CancelFunc
	cut                context.CancelFunc
	settle             time.Duration
	dropped            int // by the kernel, when the flows began
	senders, receivers sync.WaitGroup
}

// Start opens the flows and lets them talk until Stop, or until ctx ends.
func Start(ctx context.Context, cfg Config) *Checker {
	if cfg.Rate == 0 {
		cfg.Rate = defaultRate
	}
	if cfg.Settle == 0 {
		cfg.Settle = defaultSettle
	}
	sending, stop := context.WithCancel(ctx)
	receiving, cut := context.WithCancel(context.WithoutCancel(ctx))
	c := &Checker{stop: stop, cut: cut, settle: cfg.Settle, dropped: drops()}
	for _, target := range cfg.Targets {
		for network, count := range map[string]int{"tcp": cfg.TCP, "udp": cfg.UDP} {
			for range count {
				c.flows = append(c.flows, &flow{
					network: network, target: target, key: fmt.Sprintf("%s/%d", network, len(c.flows)),
					waiting: map[int]time.Time{}, idle: make(chan struct{}, 1),
				})
			}
		}
	}
	for i, f := range c.flows {
		// Spread over one pause, so that the flows do not all talk at one moment.
		offset := cfg.Rate * time.Duration(i) / time.Duration(len(c.flows))
		c.senders.Go(func() { f.keep(sending, receiving, &c.receivers, offset, cfg.Rate) })
	}
	return c
}

// Stop lets the flows end, once what they have asked is answered or a few seconds have passed, and reports.
func (c *Checker) Stop() Report {
	c.stop()
	c.senders.Wait()
	settle := time.NewTimer(c.settle)
	defer settle.Stop()
	for _, f := range c.flows {
		f.settle(settle)
	}
	c.cut()
	c.receivers.Wait()
	r := Report{Flows: len(c.flows), Dropped: drops() - c.dropped}
	for _, f := range c.flows {
		f.report(&r)
	}
	return r
}

// Broken is how many flows are broken by now.
func (c *Checker) Broken() int {
	n := 0
	for _, f := range c.flows {
		f.mu.Lock()
		n += f.out.Broken
		f.mu.Unlock()
	}
	return n
}

// flow is one player.
type flow struct {
	network, target string
	key             string // begins each of its messages

	mu       sync.Mutex // guards what follows
	sent     int
	highest  int               // number of the newest message that was answered
	waiting  map[int]time.Time // by number: when an unanswered message was sent
	asked    time.Time         // first message since the last answer; zero if there was none
	gap      time.Duration
	trips    histogram // since the last lap
	seen     string    // address that the game sees
	broken   error
	out      Report
	stopping bool
	idle     chan struct{} // told once the flow is stopping and nothing is waited for
}

// message is what is sent under a number. The checksum tells a damaged one from one that was never sent.
func (f *flow) message(number int) string {
	head := f.key + " " + strconv.Itoa(number)
	return fmt.Sprintf("%s %08x", head, crc32.ChecksumIEEE([]byte(head)))
}

// keep opens the flow and sends until sending ends. What comes back is read until receiving ends.
func (f *flow) keep(sending, receiving context.Context, receivers *sync.WaitGroup, offset, rate time.Duration) {
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(sending, f.network, f.target)
	if err != nil {
		if sending.Err() == nil {
			f.breaks(fmt.Errorf("open: %w", err))
		}
		return
	}
	release := context.AfterFunc(receiving, func() { _ = conn.Close() })
	receivers.Go(func() {
		defer release()
		defer conn.Close()
		if err := f.receive(conn); receiving.Err() == nil {
			f.breaks(err)
		}
	})
	pause := time.NewTimer(offset)
	defer pause.Stop()
	for {
		select {
		case <-sending.Done():
			return
		case <-pause.C:
			pause.Reset(rate)
		}
		if err := f.send(conn); err != nil {
			f.breaks(err)
			return
		}
	}
}

func (f *flow) send(conn net.Conn) error {
	f.mu.Lock()
	if f.broken != nil {
		defer f.mu.Unlock()
		return f.broken
	}
	f.sent++
	number := f.sent
	now := time.Now() // before it is sent: the answer may be faster than we are
	f.waiting[number] = now
	if f.asked.IsZero() {
		f.asked = now
	}
	f.mu.Unlock()
	text := f.message(number)
	if f.network == "tcp" {
		text += "\n"
	}
	_, err := conn.Write([]byte(text))
	return err
}

// receive reads answers until the flow breaks.
func (f *flow) receive(conn net.Conn) error {
	if f.network == "tcp" {
		lines := bufio.NewScanner(conn)
		for lines.Scan() {
			f.hear(lines.Text())
		}
		if err := lines.Err(); err != nil {
			return err
		}
		return errors.New("closed by the other end")
	}
	buf := make([]byte, maxDatagram)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		f.hear(string(buf[:n]))
	}
}

// hear takes one answer: the message, and the address that the game sees.
func (f *flow) hear(answer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.asked.IsZero() {
		f.gap = max(f.gap, time.Since(f.asked))
		f.asked = time.Time{}
	}
	number, address, whole := f.parse(answer)
	sent, expected := f.waiting[number]
	switch {
	case !whole:
		f.reordered("damaged: %q", answer)
		return
	case !expected:
		f.reordered("message %d is answered twice", number)
		return
	case number < f.highest:
		f.reordered("message %d comes after message %d", number, f.highest)
	}
	f.highest = max(f.highest, number)
	f.trips.note(time.Since(sent))
	delete(f.waiting, number)
	if f.seen != "" && address != f.seen {
		f.out.Moved++
		f.note("moved: the game sees %s, and saw %s", address, f.seen)
	}
	f.seen = address
	if f.stopping && len(f.waiting) == 0 {
		f.tell()
	}
}

func (f *flow) parse(answer string) (number int, address string, whole bool) {
	message, address, ok := cutLast(answer, " ")
	fields := strings.Fields(message)
	if !ok || len(fields) != 3 {
		return 0, "", false
	}
	number, err := strconv.Atoi(fields[1])
	return number, address, err == nil && number >= 1 && number <= f.sent && message == f.message(number)
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (f *flow) breaks(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == nil {
		f.broken = err
		f.out.Broken++
		f.note("broken after %d messages: %v", f.sent, err)
		f.tell()
	}
}

func (f *flow) reordered(format string, args ...any) {
	f.out.Reordered++
	f.note(format, args...)
}

func (f *flow) note(format string, args ...any) {
	if len(f.out.Findings) < maxFindings {
		when := time.Now().Format("15:04:05.000")
		f.out.Findings = append(f.out.Findings, fmt.Sprintf("%s %s to %s: ", when, f.key, f.target)+fmt.Sprintf(format, args...))
	}
}

func (f *flow) tell() {
	select {
	case f.idle <- struct{}{}:
	default: // told already
	}
}

// settle waits until every message is answered, or for the timer. A timer that has fired stays so for those who come later.
func (f *flow) settle(timer *time.Timer) {
	f.mu.Lock()
	f.stopping = true
	done := len(f.waiting) == 0 || f.broken != nil
	f.mu.Unlock()
	if done {
		return
	}
	select {
	case <-f.idle:
	case <-timer.C:
		timer.Reset(0)
	}
}

// report adds the flow to r. Nothing of it runs any more.
func (f *flow) report(r *Report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == nil {
		for _, number := range slices.Sorted(maps.Keys(f.waiting)) {
			f.out.Lost++
			f.note("message %d, sent at %s, is lost", number, f.waiting[number].Format("15:04:05.000"))
		}
		if !f.asked.IsZero() {
			f.gap = max(f.gap, time.Since(f.asked))
		}
	}
	r.Sent += f.sent
	r.Broken += f.out.Broken
	r.Lost += f.out.Lost
	r.Reordered += f.out.Reordered
	r.Moved += f.out.Moved
	r.LongestGap = max(r.LongestGap, f.gap)
	r.Findings = append(r.Findings, f.out.Findings...)
	r.Findings = r.Findings[:min(len(r.Findings), maxFindings)]
}
