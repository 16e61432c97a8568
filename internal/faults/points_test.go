package faults_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// points are the named crash points, and how often TestEachCrashPoint reaches each at least.
func points() map[string]int {
	return map[string]int{
		"create.directory": 2, "create.written": 2, "create.renamed": 2, "create.committed": 2,
		"replace.written": 3, "replace.renamed": 3, "commit.done": 3,
		"remove.stopped": 2, "remove.renamed": 2,
		"process.configured": 3, "process.spawned": 3, "start.spawned": 3,
		"takeover.loaded": 1,
	}
}

// TestCrashPointsAreKnown compares the list with the source: a new crash point is tested, or this test fails.
func TestCrashPointsAreKnown(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile(`\b[cC]rash\("([^"]+)"\)`)
	found := map[string]bool{}
	for _, dir := range []string{"../supervisor", "../../manager", "../../agent"} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, match := range named.FindAllStringSubmatch(string(text), -1) {
				found[match[1]] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, want := slices.Sorted(maps.Keys(found)), slices.Sorted(maps.Keys(points())); !slices.Equal(got, want) {
		t.Errorf("the source names the crash points\n%v\nand this test knows\n%v", got, want)
	}
}

// change is one step of the story that is told to a service until it crashes: a unit gets a version, or goes.
type change struct {
	id      string
	version int
}

// story walks over every kind of change: create, reload, restart for another transport or server, disable, enable, remove.
func story() []change {
	return []change{{"a", 1}, {"a", 2}, {"a", 6}, {"a", 9}, {"b", 3}, {"a", absent}, {"b", absent}}
}

// TestEachCrashPoint kills the service at each hit of each crash point, and once more while it is cleaning up, and wants
// the records and all the rest to be what was acknowledged within ten seconds.
func TestEachCrashPoint(t *testing.T) {
	rounds := int(number(t, "FAULTS_ROUNDS", 1))
	for point, least := range points() {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			m := newInstances(t, "127.0.0.1")
			a, agentProgram := newClients(t)
			for _, d := range []*driver{newDriver(m.program, m, nil), newDriver(agentProgram, a, nil)} {
				for range rounds {
					crashAtEachHit(t, d, point, least)
				}
			}
		})
	}
}

// crashAtEachHit arms the first hit of a point, then the second, until the story is told without reaching it. Before each
// start the engine of a resident unit is killed, so that there is something to start.
func crashAtEachHit(t *testing.T, d *driver, point string, least int) {
	t.Helper()
	const resident, version = "resident", 1
	if d.program.cmd == nil {
		d.program.start(t, "", 0)
	}
	d.program.mustBeReady(t)
	if d.may(resident)[0] == absent && !d.put(t.Context(), resident, absent, version) {
		t.Fatalf("no resident: %v\n%s", d.problems, d.program.tail())
	}
	crashes := 0
	defer func() { t.Logf("%s: %d crashes", d.program.Kind, crashes) }()
	for hit := 1; ; hit++ {
		d.program.kill(t)
		for _, pid := range d.program.engines(t)[resident] {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Fatal(err)
			}
		}
		d.program.start(t, point, hit)
		crashed := d.tell(t)
		if crashed {
			d.program.mustDie(t)
			crashes++
			// Once more, in the middle of the repair if there is any.
			d.program.start(t, point, 1)
			if d.mustComeUpOrDie(t) {
				crashes++
			}
			d.program.kill(t)
			d.program.start(t, "", 0)
		}
		d.program.mustBeReady(t)
		d.mustAgree(t)
		for _, id := range []string{"a", "b"} {
			if before := d.may(id)[0]; before != absent && !d.remove(t.Context(), id, before) {
				t.Fatalf("remove %s: %v\n%s", id, d.problems, d.program.tail())
			}
		}
		if !crashed {
			if hit <= least {
				t.Errorf("the story reaches %s of the %s %d times, expected %d", point, d.program.Kind, hit-1, least)
			}
			return
		}
	}
}

// tell makes the changes of the story, one after the other, until the service is dead; it tells whether it is.
func (d *driver) tell(t *testing.T) (died bool) {
	t.Helper()
	if d.mustComeUpOrDie(t) {
		return true
	}
	for _, c := range story() {
		before := d.may(c.id)[0]
		ctx := d.program.alive() // which spares the client its waiting for the dead
		if c.version == absent && !d.remove(ctx, c.id, before) || c.version != absent && !d.put(ctx, c.id, before, c.version) {
			return true
		}
	}
	// The resident may still be starting, and the crash be yet to come.
	wait.Eventually(t, 10*time.Second, func() error {
		if d.program.died() {
			died = true
			return nil
		}
		if n := len(d.program.engines(t)["resident"]); n != 1 {
			return fmt.Errorf("%d engines of the resident run", n)
		}
		return nil
	})
	return died
}

// mustComeUpOrDie waits until the service is ready, or has crashed on the way.
func (d *driver) mustComeUpOrDie(t *testing.T) (died bool) {
	t.Helper()
	wait.Eventually(t, 10*time.Second, func() error {
		if died = d.program.died(); died {
			return nil
		}
		return d.program.ready(t.Context())
	})
	return died
}
