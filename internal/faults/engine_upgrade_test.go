package faults_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// upgradePoints are the crash points that an upgrade of the engine reaches, and how often at least, with two units.
func upgradePoints() map[string]int {
	return map[string]int{
		"engine.installed": 1, "engine.written": 1, "engine.renamed": 1,
		"process.configured": 2, "process.spawned": 2, "start.spawned": 2,
	}
}

// upgrading is what the typed clients of both services have.
type upgrading interface {
	Engine(ctx context.Context) (api.Engine, error)
	UpgradeEngine(ctx context.Context) (api.Engine, bool, error)
}

// TestEachCrashPointOfAnUpgrade kills the service at each hit of each crash point of an upgrade. The next start has every
// unit running, once, on either build; starts use the new one only if all units do; and the same upgrade again finishes it.
func TestEachCrashPointOfAnUpgrade(t *testing.T) {
	for point, least := range upgradePoints() {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			i := newInstances(t, "127.0.0.1")
			a, agentProgram := newClients(t)
			crashUpgrades(t, newModel(i.program, i, nil), i, point, least)
			crashUpgrades(t, newModel(agentProgram, a, nil), a, point, least)
		})
	}
}

func crashUpgrades(t *testing.T, m *model, service upgrading, point string, least int) {
	t.Helper()
	build := mustRead(t, testkit.Rathole(t))
	m.program.Binary = filepath.Join(testkit.StateDir(t), "rathole")
	put := func() { // another build
		build = append(build, '.')
		if err := os.WriteFile(m.program.Binary+".new", build, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(m.program.Binary+".new", m.program.Binary); err != nil {
			t.Fatal(err)
		}
	}
	put()
	m.program.start(t, "", 0)
	m.program.mustBeReady(t)
	for _, id := range []string{"a", "b"} {
		if !m.do(t.Context(), id, op{Verb: create}) {
			t.Fatalf("no %s\n%s", id, m.program.tail())
		}
	}
	for hit := 1; ; hit++ {
		put()
		m.program.kill(t)
		m.program.start(t, point, hit)
		m.program.mustBeReady(t)
		died := upgradeOrDie(t, m, service)
		if died {
			m.program.mustDie(t)
			m.program.start(t, "", 0)
			m.program.mustBeReady(t)
			m.mustAgree(t)
			e := mustSeeEngine(t, service)
			if e.Current.SHA256 == e.Found.SHA256 && (len(e.Running) != 1 || e.Running[0].SHA256 != e.Found.SHA256) {
				t.Errorf("starts use the new build, and not every unit does: %+v", e)
			}
			if upgradeOrDie(t, m, service) {
				t.Fatalf("it died without being told to\n%s", m.program.tail())
			}
		}
		m.mustAgree(t)
		e := mustSeeEngine(t, service)
		if e.Current.SHA256 != e.Found.SHA256 || len(e.Running) != 1 || e.Running[0].SHA256 != e.Found.SHA256 || len(e.Running[0].Units) != 2 {
			t.Errorf("after the upgrade: %+v", e)
		}
		if left, err := names(filepath.Join(m.program.State, "engine")); err != nil || len(left) != 2 {
			t.Errorf("left in the directory of engines: %v %v", left, err)
		}
		if !died {
			if hit <= least {
				t.Errorf("an upgrade reaches %s of the %s %d times, expected %d", point, m.program.Kind, hit-1, least)
			}
			return
		}
	}
}

// upgradeOrDie orders an upgrade and waits until it is done, or the service dead.
func upgradeOrDie(t *testing.T, m *model, service upgrading) (died bool) {
	t.Helper()
	for _, id := range []string{"a", "b"} {
		m.engine(id, 0) // whatever runs now may be replaced
	}
	_, _, err := service.UpgradeEngine(m.program.alive())
	wait.Eventually(t, 60*time.Second, func() error {
		if died = m.program.died(); died {
			return nil
		}
		if err != nil {
			return err
		}
		e, err := service.Engine(m.program.alive())
		if err == nil && (e.Upgrade == nil || e.Upgrade.State != api.UpgradeDone) {
			err = fmt.Errorf("upgrade: %+v", e.Upgrade)
		}
		return err
	})
	return died
}

func mustSeeEngine(t *testing.T, service upgrading) api.Engine {
	t.Helper()
	e, err := service.Engine(t.Context())
	if err != nil || e.Current == nil || e.Found == nil {
		t.Fatalf("%+v %v", e, err)
	}
	return e
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
