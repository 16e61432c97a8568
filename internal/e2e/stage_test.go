package e2e_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/events"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
)

// stage is everything but the configuration.
type stage struct {
	manager *testkit.Manager
	agent   *testkit.Agent
	game    *game.Server
	cli     *testkit.CLI
}

// newStage starts a manager, an agent and a game on ports 30000-30005, and prepares a command line in an empty directory.
func newStage(t *testing.T) *stage {
	t.Helper()
	return &stage{
		manager: testkit.StartManager(t, nil), agent: testkit.StartAgent(t, nil),
		game: testkit.StartGame(t, "satisfactory", 30000, 30001, 30002, 30003, 30004, 30005),
		cli:  testkit.NewCLI(t, t.TempDir()),
	}
}

// write makes the configuration: the provider and the given resources.
func (s *stage) write(t *testing.T, resources string) {
	t.Helper()
	s.writeFor(t, s.manager.URL, resources)
}

func (s *stage) writeFor(t *testing.T, managerURL, resources string) {
	t.Helper()
	text := fmt.Sprintf(`terraform {
  required_providers {
    rathole = {
      source = "satishost/rathole"
    }
  }
}

provider "rathole" {
  manager_url = %q
}

%s`, managerURL, resources)
	if err := os.WriteFile(filepath.Join(s.cli.Dir, "main.tf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// instance is a resource with both halves.
func (s *stage) instance(name, ports string) string {
	return s.instanceOn(s.agent.URL, name, ports)
}

func (s *stage) instanceOn(agentURL, name, ports string) string {
	return fmt.Sprintf("resource \"rathole_instance\" %q {\n  server_id = \"srv_%s\"\n  host_ip   = %q\n  agent_url = %q\n  %s\n}\n",
		name, name, s.game.Host, agentURL, ports)
}

func (s *stage) public(port int) string { return fmt.Sprintf("%s:%d", s.manager.Bind, port) }

// mustBeEmpty checks that neither service has anything left, in memory or on disk.
func (s *stage) mustBeEmpty(t *testing.T) {
	t.Helper()
	instances, err := s.manager.List(t.Context(), "", "")
	if err != nil || len(instances) != 0 {
		t.Errorf("left on the manager: %v %v", instances, err)
	}
	clients, err := s.agent.List(t.Context())
	if err != nil || len(clients) != 0 {
		t.Errorf("left on the agent: %v %v", clients, err)
	}
	ports, err := s.manager.Ports(t.Context())
	if err != nil || ports.Control.Allocated+ports.Public.Allocated != 0 {
		t.Errorf("ports left: %+v %v", ports, err)
	}
	for _, dir := range []string{s.manager.State + "/instances", s.manager.State + "/log", s.agent.State + "/clients", s.agent.State + "/log"} {
		left, err := os.ReadDir(dir)
		left = slices.DeleteFunc(left, func(e fs.DirEntry) bool { return events.IsFile(e.Name()) }) // what happened is told afterwards, too
		if err != nil || len(left) != 0 {
			t.Errorf("%s still holds %v %v", dir, left, err)
		}
	}
}
