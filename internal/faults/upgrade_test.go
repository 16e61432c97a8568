package faults_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// upgrades is how often the binaries are replaced, forth and back.
const upgrades = 5

// TestUpgradedInPlace replaces the real binaries of manager and agent under busy tunnels, as a package does it: a new file is
// renamed over the old one, the service is asked to end, and the new one is started. No engine is started anew, no player
// notices, and each version goes on with what the other has made.
func TestUpgradedInPlace(t *testing.T) {
	t.Parallel()
	versions := []string{"v1.0.0", "v2.0.0"}
	builds := map[string]string{}
	for _, version := range versions {
		builds[version] = build(t, version)
	}
	i := newInstances(t, startGame(t))
	a, agentProgram := newClients(t)
	programs := []*program{i.program, agentProgram}
	health := map[kind]func(context.Context) (api.Health, error){managers: i.Health, agents: a.Health}
	bin := t.TempDir()
	for _, p := range programs {
		p.Real = filepath.Join(bin, "rathole-"+string(p.Kind))
		mustReplace(t, p.Real, builds[versions[0]])
		p.start(t, "", 0)
		p.mustBeReady(t)
	}
	_, addresses := mustConnect(t, i, a, 10)
	checker := players(t, addresses)
	before := mustFindEngines(t, programs)

	for round := 1; round <= upgrades; round++ {
		version := versions[round%len(versions)]
		id := fmt.Sprintf("made-by-%d", round)
		spec := api.InstanceSpec{Services: map[string]api.ServiceSpec{"game": {Protocols: []api.Protocol{api.UDP}, LocalPort: gamePort}}}
		if _, _, err := i.Create(t.Context(), api.CreateInstance{ServerID: id, InstanceSpec: spec}, client.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, p := range programs {
			mustReplace(t, p.Real, builds[version])
			p.mustLeave(t)
			p.start(t, "", 0)
			p.mustBeReady(t)
			if h, err := health[p.Kind](t.Context()); err != nil || h.Version != version {
				t.Fatalf("the %s is of version %q, expected %s; %v", p.Kind, h.Version, version, err)
			}
		}
		if err := i.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if after := mustFindEngines(t, programs); !maps.Equal(before, after) {
			t.Fatalf("the engines were\n%v\nand are\n%v", before, after)
		}
	}
	t.Logf("%d upgrades of manager and agent, with %d engines", upgrades, len(before))
	mustNotHaveNoticed(t, checker)
}

// build builds both services with a version of their own, and returns the directory.
func build(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir() + string(filepath.Separator)
	out, err := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-X main.version="+version, "-o", dir,
		"../../manager/rathole-manager", "../../agent/rathole-agent").CombinedOutput()
	if err != nil {
		t.Fatalf("build %s: %v\n%s", version, err, out)
	}
	return dir
}

// mustReplace renames a copy of what was built over the program's file, which may be running.
func mustReplace(t *testing.T, path, dir string) {
	t.Helper()
	mustInstall(t, filepath.Join(dir, filepath.Base(path)), path+".next")
	if err := os.Rename(path+".next", path); err != nil {
		t.Fatal(err)
	}
}

// mustInstall copies an executable. Another program does it: whatever this one forks at that moment would inherit a descriptor
// that is open for writing, and until it has become another program the kernel refuses to execute the file ("text file busy").
func mustInstall(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "install", "-m", "755", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// mustFindEngines returns the pid of each engine.
func mustFindEngines(t *testing.T, programs []*program) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, p := range programs {
		engines, err := p.engines()
		if err != nil {
			t.Fatal(err)
		}
		for id, pids := range engines {
			if len(pids) != 1 {
				t.Fatalf("%s has the engines %v", id, pids)
			}
			all[string(p.Kind)+" "+id] = pids[0]
		}
	}
	return all
}
