package service

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// desk is a log, who watches it, and what was told.
type desk struct {
	t      *testing.T
	watch  *LogWatch[struct{}]
	path   string
	told   []string
	poked  int
	hinted time.Time // at what time it was said to have happened
	now    time.Time
}

func newDesk(t *testing.T, change func(*view)) *desk {
	t.Helper()
	d := &desk{t: t, path: filepath.Join(t.TempDir(), "one.log"), now: time.Now()}
	v := view{}
	v.Record.ID, v.Process.Log = "one", d.path
	if change != nil {
		change(&v)
	}
	d.watch = &LogWatch[struct{}]{
		List:     func() []view { return []view{v} },
		Tell:     func(e api.Event) { d.told = append(d.told, fmt.Sprintf("%s(%s) %s", e.Type, e.Reason, e.Message)) },
		Hint:     func(_ string, at time.Time) { d.poked++; d.hinted = at },
		Warnings: map[rathole.Kind]string{rathole.KindAuthFailed: "wrong token"},
		Log:      wait.Logger(t),
	}
	return d
}

func (d *desk) write(lines ...string) {
	d.t.Helper()
	f, err := os.OpenFile(d.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	}
	if err != nil {
		d.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) later(by time.Duration) {
	d.now = d.now.Add(by)
	d.watch.look(d.now)
}

func (d *desk) expect(want ...string) {
	d.t.Helper()
	if !slices.Equal(d.told, want) {
		d.t.Errorf("told\n%q, want\n%q", d.told, want)
	}
}

const (
	refused = "2026-11-24T12:05:20.607128Z  WARN connection{addr=1.2.3.4:5}: rathole::server: Service game_tcp failed the authentication"
	pushed  = "2026-11-24T12:05:20.607128Z  WARN connection{addr=1.2.3.4:5}: rathole::server: Dropping previous control channel for service game_tcp"
)

func TestComplaintsAreToldOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	const want = "engine_warning(auth_failed) wrong token (service game_tcp)"
	d.later(0)
	for range 90 { // a client that tries each second, for longer than a complaint is remembered
		d.write(refused, "2026-11-24T12:05:20.607128Z  INFO rathole::server: something else")
		d.later(time.Second)
	}
	d.expect(want)
	d.later(quiet + time.Second)
	d.write(refused)
	d.later(time.Second)
	d.later(time.Second) // a log that was quiet has every other turn
	d.expect(want, want)
	// A log that was cut is read from its beginning.
	if err := os.Truncate(d.path, 0); err != nil {
		t.Fatal(err)
	}
	d.later(quiet + time.Second)
	d.write(refused)
	d.later(time.Second)
	d.later(time.Second)
	d.expect(want, want, want)
}

func TestAnEarlierRunsComplaintsAreOld(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(v *view) { v.Process.Adopted = true })
	d.write(refused)
	d.later(time.Second)
	d.expect()
	d.write(refused)
	d.later(time.Second)
	d.expect("engine_warning(auth_failed) wrong token (service game_tcp)")
}

func TestALogThatGrowsFastIsSkipped(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.later(0)
	d.write(strings.Repeat(strings.Repeat("x", 99)+"\n", 10_000))
	d.later(time.Second)
	d.write(refused)
	d.later(time.Second)
	d.expect("engine_warning(auth_failed) wrong token (service game_tcp)")
}

func TestTwoClients(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	for range fightCount - 1 { // one that comes back again and again, over minutes
		d.write(pushed)
		d.later(fightWindow)
	}
	d.expect()
	for range 2 * fightCount {
		d.write(pushed)
		d.later(time.Second)
	}
	if len(d.told) != 1 || !strings.HasPrefix(d.told[0], "two_clients()") || !d.watch.Fights("one") {
		t.Errorf("told %q, fights %v", d.told, d.watch.Fights("one"))
	}
	d.later(fightOver)
	before := d.poked
	d.later(hintPause)
	if d.watch.Fights("one") || before == 0 || d.poked != before || len(d.told) != 1 {
		t.Errorf("after the fight: told %q, fights %v, poked %d, %d", d.told, d.watch.Fights("one"), before, d.poked)
	}
}

// TestALogThatGrowsIsAHint has the unit looked at when its engine says something, but not for each line.
func TestALogThatGrowsIsAHint(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	for n, want := range []int{1, 1, 1, 2, 2, 2, 3, 3} {
		d.write("whatever")
		d.later(time.Second)
		if d.poked != want {
			t.Errorf("second %d: poked %d times, want %d", n, d.poked, want)
		}
	}
	for range 5 {
		d.later(time.Second)
	}
	d.write("whatever")
	d.later(time.Second)
	before := d.poked
	d.write("2026-11-24T12:05:20.607128Z  INFO connection{addr=1.2.3.4:5}:handle{service=a_tcp}:run: rathole::server: Control channel shutdown")
	d.later(time.Second)
	if d.poked != before+1 {
		t.Errorf("a peer went: poked %d times, want one more than %d", d.poked, before)
	}
	info, err := os.Stat(d.path)
	if err != nil {
		t.Fatal(err)
	}
	if d.hinted.Before(info.ModTime()) || d.hinted.Sub(info.ModTime()) > time.Second {
		t.Errorf("what was written at %s is said to have happened at %s", info.ModTime(), d.hinted)
	}
	if before != 5 { // for the last line of those, and this one
		t.Errorf("a silent log: poked %d times", d.poked)
	}
}

// TestAPortThatStaysTaken is told of once a service has found its port taken twice, soon after each other.
func TestAPortThatStaysTaken(t *testing.T) {
	t.Parallel()
	const taken = "2026-11-29T05:28:47.506654Z  WARN connection{addr=10.77.0.2:37128}:handle{service=%s}:run_udp_connection_pool: " +
		"rathole::server: Address already in use (os error 98). Retry in 624.575894ms"
	d := newDesk(t, nil)
	var held []string
	d.watch.Held = func(id, engineService string) { held = append(held, id+" "+engineService) }
	d.later(0)
	d.write(fmt.Sprintf(taken, "game_udp"))
	d.later(time.Second)
	d.write(fmt.Sprintf(taken, "query_udp"))
	d.later(heldWindow)
	d.write(fmt.Sprintf(taken, "game_udp"))
	d.later(time.Second)
	if len(held) != 0 {
		t.Errorf("held are %q, and each was found taken once, or long ago", held)
	}
	d.write(fmt.Sprintf(taken, "game_udp"))
	d.later(time.Second)
	if want := []string{"one game_udp"}; !slices.Equal(held, want) {
		t.Errorf("held are %q, want %q", held, want)
	}
}
