package obtain

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestProgressInALogIsALineAtTheStartAndNowAndThen(t *testing.T) {
	t.Parallel()
	said := &log{}
	p := begin(said, "building")
	p.set("Compiling tokio")
	p.draw()
	p.end()
	if got, want := said.String(), "building …\nbuilding: 0 s, Compiling tokio\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProgressOnATerminalIsOneLine(t *testing.T) {
	t.Parallel()
	said := &log{}
	p := &progress{w: said, what: "building", since: time.Now(), width: 30, stop: make(chan struct{}), stopped: make(chan struct{})}
	go p.run(time.Hour)
	p.set("Compiling a-crate-with-a-very-long-name v1.2.3")
	p.draw()
	p.end()
	lines := strings.Split(said.String(), "\r")
	if len(lines) != 3 || !strings.HasSuffix(said.String(), "\n") {
		t.Fatalf("got %q", said.String())
	}
	for _, line := range lines[1:] {
		if got := len(strings.TrimSuffix(line, "\n")); got != 29 {
			t.Errorf("%q has %d columns, want 29: the one before would show, or the terminal would wrap", line, got)
		}
	}
}

func TestProgressKnowsATerminal(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	if got := columns(file); got != 0 {
		t.Errorf("a file has %d columns", got)
	}
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	if got := columns(terminal); got != 80 {
		t.Errorf("a new terminal has %d columns, want 80", got)
	}
}
