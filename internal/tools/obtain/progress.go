package obtain

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// How often a person hears of a step that lasts: a terminal's line is redrawn, a log gets a new line.
const (
	redrawEvery = 250 * time.Millisecond
	logEvery    = 15 * time.Second
)

// progress tells what a long step is doing, from begin to end.
type progress struct {
	w     io.Writer
	what  string
	since time.Time
	width int // columns of the terminal, 0: not a terminal

	mu     sync.Mutex
	detail string

	stop, stopped chan struct{}
}

// begin announces a step. The caller must end it.
func begin(w io.Writer, what string) *progress {
	p := &progress{w: w, what: what, since: time.Now(), width: columns(w), stop: make(chan struct{}), stopped: make(chan struct{})}
	every := redrawEvery
	if p.width == 0 {
		every = logEvery
		_, _ = fmt.Fprintf(w, "%s …\n", what)
	}
	go p.run(every)
	return p
}

// set replaces the detail shown behind the step's name.
func (p *progress) set(detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.detail = detail
}

// end stops the display; a terminal's line stays with the time that the step took. A nil progress has nothing to end.
func (p *progress) end() {
	if p == nil {
		return
	}
	close(p.stop)
	<-p.stopped
	if p.width == 0 {
		return
	}
	p.set("")
	p.draw()
	_, _ = fmt.Fprintln(p.w)
}

func (p *progress) run(every time.Duration) {
	defer close(p.stopped)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.draw()
		}
	}
}

func (p *progress) draw() {
	p.mu.Lock()
	line := fmt.Sprintf("%s: %.0f s", p.what, time.Since(p.since).Seconds())
	if p.detail != "" {
		line += ", " + p.detail
	}
	p.mu.Unlock()
	if p.width == 0 {
		_, _ = fmt.Fprintln(p.w, line)
		return
	}
	if runes := []rune(line); len(runes) > p.width-1 { // a line that wraps could not be written over
		line = string(runes[:p.width-1])
	}
	_, _ = fmt.Fprintf(p.w, "\r%-*s", p.width-1, line)
}

// columns is the width of the terminal behind w, 0 if there is none.
func columns(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	if size.Col < 20 {
		return 80 // some pseudo terminals do not know
	}
	return int(size.Col)
}
