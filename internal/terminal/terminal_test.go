package terminal_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/terminal"
)

func TestColours(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		terminal bool
		env      map[string]string
		want     bool
	}{
		"a terminal":             {true, nil, true},
		"a pipe":                 {false, nil, false},
		"NO_COLOR":               {true, map[string]string{"NO_COLOR": "1"}, false},
		"NO_COLOR, but empty":    {true, map[string]string{"NO_COLOR": ""}, true},
		"a terminal without any": {true, map[string]string{"TERM": "dumb"}, false},
		"an ordinary one":        {true, map[string]string{"TERM": "xterm-256color"}, true},
	} {
		if got := terminal.Colours(tc.terminal, func(name string) string { return tc.env[name] }); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

var rows = [][]string{{"ID", "STATUS", "MESSAGE"}, {"a", "healthy", ""}, {"longer", "down", "joined\nerrors\x1b[2J\u202e"}}

func red(string) terminal.Colour { return terminal.Red }

func TestTableInAPipe(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := terminal.Table(&out, rows, 1, red); err != nil {
		t.Fatal(err)
	}
	const want = "ID      STATUS   MESSAGE\na       healthy\nlonger  down     joined errors\ufffd[2J\ufffd\n"
	if out.String() != want {
		t.Errorf("it prints\n%q, want\n%q", out.String(), want)
	}
}

// TestTableOnATerminal prints to one: the coloured columns still stand in line.
func TestTableOnATerminal(t *testing.T) {
	t.Parallel()
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		t.Skip("this terminal shows no colours")
	}
	screen, tty := openTerminal(t)
	if !terminal.Is(tty) {
		t.Fatal("it is not seen as a terminal")
	}
	if err := terminal.Table(tty, rows, 1, red); err != nil {
		t.Fatal(err)
	}
	const want = "ID      \x1b[39mSTATUS\x1b[0m   MESSAGE\na       \x1b[31mhealthy\x1b[0m\nlonger  \x1b[31mdown\x1b[0m     joined errors\ufffd[2J\ufffd\n"
	text := make([]byte, len(want)+strings.Count(want, "\n")) // a terminal ends its lines by two characters
	if _, err := io.ReadFull(screen, text); err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(string(text), "\r\n", "\n")
	if got != want {
		t.Errorf("it prints\n%q, want\n%q", got, want)
	}
}

// openTerminal gives both ends of a pseudo terminal.
func openTerminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return screen, tty
}
