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

	"github.com/satishost/terraform-provider-rathole/internal/testkit/scale"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

const (
	hero     = "hero"     // the unit of the story
	resident = "resident" // a unit that is there all the time
)

// points are the named crash points, and how often TestEachCrashPoint reaches each at least.
func points() map[string]int {
	return map[string]int{
		"create.directory": 1, "create.written": 1, "create.renamed": 1, "create.committed": 1,
		"replace.written": 3, "replace.renamed": 3, "commit.done": 3,
		"remove.stopped": 1, "remove.renamed": 1,
		"process.configured": 3, "process.spawned": 3, "start.spawned": 3,
		"takeover.loaded": 1,
	}
}

// TestCrashPointsAreKnown compares the list with the source: a new crash point is tested, or this test fails.
func TestCrashPointsAreKnown(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile(`\b[cC]rash\("([^"]+)"\)`)
	found := map[string]bool{}
	for _, dir := range []string{"../supervisor", "../engine", "../../manager", "../../agent"} {
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
	tested := points()
	maps.Copy(tested, upgradePoints())
	if got, want := slices.Sorted(maps.Keys(found)), slices.Sorted(maps.Keys(tested)); !slices.Equal(got, want) {
		t.Errorf("the source names the crash points\n%v\nand this test knows\n%v", got, want)
	}
}

// story walks over every kind of change: create, reload, restart for another transport or server, a new engine, disable,
// remove.
func story() []op {
	return []op{
		{Verb: create, Kind: extra},
		{Verb: update},
		{Verb: update, Kind: other},
		{Verb: restart},
		{Verb: toggle},
		{Verb: remove},
	}
}

// TestEachCrashPoint kills the service at each hit of each crash point, and once more while it is cleaning up, and wants
// the records and all the rest to be what was acknowledged within ten seconds.
func TestEachCrashPoint(t *testing.T) {
	t.Parallel()
	rounds := scale.Of(t, "FAULTS_ROUNDS", 1)
	for point, least := range points() {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			i := newInstances(t, "127.0.0.1")
			a, agentProgram := newClients(t)
			for _, m := range []*model{newModel(i.program, i, nil), newModel(agentProgram, a, nil)} {
				crashes := 0
				for range rounds {
					crashes += crashAtEachHit(t, m, point, least)
				}
				t.Logf("%s: %d crashes", m.program.Kind, crashes)
			}
		})
	}
}

// crashAtEachHit arms the first hit of a point, then the second, until the story is told without reaching it; it returns
// how often the service crashed. Before each start the engine of a resident unit is killed, so that there is something to
// start.
func crashAtEachHit(t *testing.T, m *model, point string, least int) (crashes int) {
	t.Helper()
	if m.program.cmd == nil {
		m.program.start(t, "", 0)
	}
	m.program.mustBeReady(t)
	if m.may(resident)[0] == absent && !m.do(t.Context(), resident, op{Verb: create, Kind: extra}) {
		t.Fatalf("no resident\n%s", m.program.tail())
	}
	for hit := 1; ; hit++ {
		m.program.kill(t)
		m.mustKillEngine(t, resident)
		m.program.start(t, point, hit)
		crashed := m.tell(t)
		if crashed {
			m.program.mustDie(t)
			crashes++
			// Once more, in the middle of the repair if there is any.
			m.program.start(t, point, 1)
			if m.mustComeUpOrDie(t) {
				crashes++
			}
			m.program.kill(t)
			m.program.start(t, "", 0)
		}
		m.program.mustBeReady(t)
		m.mustAgree(t)
		if m.may(hero)[0] != absent && !m.do(t.Context(), hero, op{Verb: remove}) {
			t.Fatalf("%s is not removed\n%s", hero, m.program.tail())
		}
		if !crashed {
			if hit <= least {
				t.Errorf("the story reaches %s of the %s %d times, expected %d", point, m.program.Kind, hit-1, least)
			}
			return crashes
		}
	}
}

func (m *model) mustKillEngine(t *testing.T, id string) {
	t.Helper()
	engines, err := m.program.engines()
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range engines[id] {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
	m.engine(id, 0)
}

// tell makes the changes of the story, one after the other, until the service is dead; it tells whether it is.
func (m *model) tell(t *testing.T) (died bool) {
	t.Helper()
	if m.mustComeUpOrDie(t) {
		return true
	}
	for _, o := range story() {
		if !m.do(m.program.alive(), hero, o) { // a context that spares the client its waiting for the dead
			return true
		}
	}
	// The resident may still be starting, and the crash be yet to come.
	wait.Eventually(t, 10*time.Second, func() error {
		if died = m.program.died(); died {
			return nil
		}
		engines, err := m.program.engines()
		if n := len(engines[resident]); err == nil && n != 1 {
			err = fmt.Errorf("%d engines of the resident run", n)
		}
		return err
	})
	return died
}

// mustComeUpOrDie waits until the service is ready, or has crashed on the way.
func (m *model) mustComeUpOrDie(t *testing.T) (died bool) {
	t.Helper()
	wait.Eventually(t, 10*time.Second, func() error {
		if died = m.program.died(); died {
			return nil
		}
		return m.program.ready(t.Context())
	})
	return died
}
