package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
)

const twoPorts = "game_port   = 30000\n  beacon_port = 30001"

// TestLifeOfAnInstance is the main story: create, nothing to do, import, change in place under a player, destroy.
func TestLifeOfAnInstance(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.write(t, s.instance("one", twoPorts))
	s.cli.Apply(t)
	for _, port := range []int{30000, 30001} {
		testkit.MustReach(t, s.public(port), "satisfactory", api.TCP, api.UDP)
	}
	made, err := s.manager.Get(t.Context(), "srv_one")
	if err != nil || made.RatholePort < 10000 || made.RatholePort > 20000 {
		t.Errorf("control port %d, %v", made.RatholePort, err)
	}
	s.cli.MustBeUnchanged(t)

	// Into an empty state.
	state := filepath.Join(s.cli.Dir, "terraform.tfstate")
	if err := os.Rename(state, state+".lost"); err != nil {
		t.Fatal(err)
	}
	s.cli.MustRun(t, "import", "-input=false", "rathole_instance.one", "srv_one")
	s.cli.MustBeUnchanged(t)

	player, err := game.Join(t.Context(), api.TCP, s.public(30000))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = player.Leave() }()
	if got, err := player.Ask("hello"); err != nil || got != "hello" {
		t.Fatalf("%q %v", got, err)
	}
	s.write(t, s.instance("one", "game_port   = 30000\n  beacon_port = 30002"))
	if out := s.cli.Apply(t); !strings.Contains(out, "0 added, 1 changed, 0 destroyed") {
		t.Errorf("not changed in place:\n%s", out)
	}
	if got, err := player.Ask("still there?"); err != nil || got != "still there?" {
		t.Errorf("the player on the game port was dropped: %q %v", got, err)
	}
	testkit.MustReach(t, s.public(30002), "satisfactory", api.TCP, api.UDP)
	s.cli.MustBeUnchanged(t)

	s.cli.Destroy(t)
	s.mustBeEmpty(t)
}

// TestReplaceAndRecreate wants no port to be held down: what is destroyed can be created again at once.
func TestReplaceAndRecreate(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.write(t, s.instance("one", twoPorts))
	s.cli.Apply(t)
	before, err := s.manager.Get(t.Context(), "srv_one")
	if err != nil {
		t.Fatal(err)
	}
	s.cli.Apply(t, "-replace=rathole_instance.one")
	after, err := s.manager.Get(t.Context(), "srv_one")
	if err != nil || after.UID == before.UID {
		t.Errorf("not replaced: %v, %s and %s", err, before.UID, after.UID)
	}
	testkit.MustReach(t, s.public(30000), "satisfactory", api.TCP, api.UDP)
	// Another name takes the ports over in one apply: create after destroy.
	s.write(t, strings.Replace(s.instance("one", twoPorts), "srv_one", "srv_other", 1))
	s.cli.Apply(t)
	testkit.MustReach(t, s.public(30001), "satisfactory", api.TCP, api.UDP)
	s.cli.Destroy(t)
	s.cli.Apply(t)
	testkit.MustReach(t, s.public(30001), "satisfactory", api.TCP, api.UDP)
	s.cli.Destroy(t)
	s.mustBeEmpty(t)
}

// TestSwapOfPorts moves the ports of two instances past each other in two applies.
func TestSwapOfPorts(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	write := func(one, two string) {
		t.Helper()
		s.write(t, s.instance("one", "game_port = "+one)+s.instance("two", "game_port = "+two))
	}
	write("30000", "30001")
	s.cli.Apply(t)
	write("30002", "30000") // two takes a port that one gives up in this very apply
	s.cli.Apply(t)
	write("30001", "30000")
	s.cli.Apply(t)
	s.cli.MustBeUnchanged(t)
	for port, id := range map[int]string{30000: "srv_two", 30001: "srv_one"} {
		testkit.MustReach(t, s.public(port), "satisfactory", api.TCP, api.UDP)
		i, err := s.manager.Get(t.Context(), id)
		if err != nil || i.GamePort != port || i.Status != api.StatusHealthy {
			t.Errorf("%s: %v %+v", id, err, i)
		}
	}
	s.cli.Destroy(t)
	s.mustBeEmpty(t)
}

// TestTokensAreNowhere searches what Terraform keeps and shows.
func TestTokensAreNowhere(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.write(t, s.instance("one", twoPorts)+"\ndata \"rathole_instance\" \"one\" {\n  server_id = rathole_instance.one.server_id\n}\noutput \"all\" {\n  value = data.rathole_instance.one\n}\n")
	shown := s.cli.Apply(t) + s.cli.MustRun(t, "show", "-json") + s.cli.MustRun(t, "plan", "-input=false")
	cfg, err := s.manager.ClientConfig(t.Context(), "srv_one", "")
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{testkit.Token}
	for _, found := range regexp.MustCompile(`token = "([^"]+)"`).FindAllStringSubmatch(cfg.Config, -1) {
		secrets = append(secrets, found[1])
	}
	if len(secrets) != 5 {
		t.Fatalf("%d service tokens in the client config, want 4", len(secrets)-1)
	}
	state, err := os.ReadFile(filepath.Join(s.cli.Dir, "terraform.tfstate"))
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]string{"what terraform shows": shown, "the state": string(state)}
	for _, dir := range []string{s.manager.State + "/log", s.agent.State + "/log"} {
		for _, name := range []string{"srv_one.log", "srv_one.err"} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			places[filepath.Join(dir, name)] = string(text)
		}
	}
	for place, text := range engineSurfaces(t, s.manager.State, s.agent.State) {
		places[place] = text
	}
	for place, text := range places {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds a token", place)
			}
		}
	}
	s.cli.Destroy(t)
	s.mustBeEmpty(t)
}

// engineSurfaces is what any user of the machine may read of the engines of these state directories: four files, for a
// server and a client.
func engineSurfaces(t *testing.T, states ...string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, e := range entries {
		cmdline, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue
		}
		for _, state := range states {
			if strings.Contains(string(cmdline), state) {
				environ, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
				if err != nil {
					t.Fatal(err)
				}
				found["arguments of "+e.Name()], found["environment of "+e.Name()] = string(cmdline), string(environ)
			}
		}
	}
	if len(found) != 4 {
		t.Fatalf("found %d of 4 surfaces: %v", len(found), found)
	}
	return found
}
