package examples_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
)

// page prepares the command line for one fragment of the reference pages, which have no provider block of their own.
func (s stage) page(t *testing.T, dir string, variables map[string]any) *testkit.CLI {
	t.Helper()
	cli := testkit.NewCLI(t, dir)
	block := fmt.Sprintf("terraform {\n  required_providers {\n    rathole = { source = \"satishost/rathole\" }\n  }\n}\nprovider \"rathole\" {\n  manager_url = %q\n}\n", s.manager.URL)
	if err := os.WriteFile(filepath.Join(cli.Dir, "provider_of_this_test.tf"), []byte(block), 0o600); err != nil {
		t.Fatal(err)
	}
	cli.Variables(t, variables)
	return cli
}

// finish checks that a plan is empty, destroys, and looks whether anything is left.
func (s stage) finish(t *testing.T, cli *testkit.CLI) {
	t.Helper()
	cli.MustBeUnchanged(t)
	cli.Destroy(t)
	s.mustBeEmpty(t)
}

func TestGameServicesPage(t *testing.T) {
	t.Parallel()
	s := newStage(t, 2456, 2457)
	cli := s.page(t, "functions/game_services", map[string]any{"agent_url": s.agent.URL, "host_ip": s.host})
	cli.Apply(t)
	join := fmt.Sprint(cli.Outputs(t)["players_join"])
	if join != s.manager.Bind.String()+":2456" {
		t.Errorf("players join at %s", join)
	}
	testkit.MustReach(t, join, "the game", api.UDP)
	s.finish(t, cli)
}

func TestParseClientConfigPage(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	cli := s.page(t, "functions/parse_client_config", map[string]any{"agent_url": s.agent.URL})
	cli.Apply(t)
	for id, port := range map[string]int{"minecraft-1": 25565, "satisfactory-1": 7777} {
		inst, err := s.manager.Get(t.Context(), id)
		if err != nil || inst.Services["game"].LocalPort != port || inst.Status != api.StatusHealthy {
			t.Errorf("%s: %+v %v", id, inst, err)
		}
	}
	s.finish(t, cli)
}

func TestDataSourcePages(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	if _, _, err := s.manager.Create(t.Context(), api.CreateInstance{
		ServerID: "waits", InstanceSpec: api.InstanceSpec{GamePort: 30000},
	}, client.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"data-sources/rathole_instances", "data-sources/rathole_manager"} {
		cli := s.page(t, dir, map[string]any{})
		cli.Apply(t)
		cli.MustBeUnchanged(t)
	}
}

func TestClientConfigPage(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	cli := s.page(t, "ephemeral-resources/rathole_client_config", map[string]any{})
	cli.Apply(t)
	s.finish(t, cli)
}
