package examples_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/config"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/newer"
)

// page prepares the command line for one fragment of the reference pages, which have no provider block of their own.
func (s stage) page(t *testing.T, dir string, variables map[string]any, env ...string) *testkit.CLI {
	t.Helper()
	cli := testkit.NewCLI(t, dir, env...)
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

func gameServicesPage(t *testing.T, files ...string) {
	s := newStage(t, 2456, 2457)
	cli := s.page(t, filepath.Dir(files[0]), map[string]any{"agent_url": s.agent.URL, "host_ip": s.host})
	cli.Apply(t)
	join := fmt.Sprint(cli.Outputs(t)["players_join"])
	if join != s.manager.Bind.String()+":2456" {
		t.Errorf("players join at %s", join)
	}
	testkit.MustReach(t, join, "the game", api.UDP)
	s.finish(t, cli)
}

func parseClientConfigPage(t *testing.T, files ...string) {
	s := newStage(t)
	cli := s.page(t, filepath.Dir(files[0]), map[string]any{"agent_url": s.agent.URL})
	cli.Apply(t)
	for id, port := range map[string]int{"minecraft-1": 25565, "satisfactory-1": 7777} {
		inst, err := s.manager.Get(t.Context(), id)
		if err != nil || inst.Services["game"].LocalPort != port || inst.Status != api.StatusHealthy {
			t.Errorf("%s: %+v %v", id, inst, err)
		}
	}
	s.finish(t, cli)
}

func dataSourcePages(t *testing.T, files ...string) {
	s := newStage(t)
	if _, _, err := s.manager.Create(t.Context(), api.CreateInstance{
		ServerID: "waits", InstanceSpec: api.InstanceSpec{GamePort: 30000},
	}, client.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		cli := s.page(t, filepath.Dir(file), map[string]any{})
		cli.Apply(t)
		cli.MustBeUnchanged(t)
	}
}

func clientConfigPage(t *testing.T, files ...string) {
	s := newStage(t)
	cli := s.page(t, filepath.Dir(files[0]), map[string]any{})
	cli.Apply(t)
	s.finish(t, cli)
}

// importPage imports an instance that exists, in each of the ways that the page has for the first resource of its example.
func importPage(t *testing.T, files ...string) {
	s, bin := newStage(t, 30000, 30001), t.TempDir()
	if err := os.Symlink(testkit.Terraform(t), filepath.Join(bin, "terraform")); err != nil {
		t.Fatal(err)
	}
	s.mustMake(t, "srv_user123_abcd1234", api.InstanceSpec{GamePort: 30000, BeaconPort: 30001, HostIP: s.host, AgentURL: s.agent.URL})
	cli := s.page(t, t.TempDir(), map[string]any{}, "PATH="+bin+":"+os.Getenv("PATH"))
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(cli.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	satisfactory, _, _ := strings.Cut(s.fragment(t, files[0]), "\n\n")
	write("resource.tf", satisfactory+"\n")
	version := newer.Version(t, cli)
	for _, file := range files[1:] {
		text, want := s.fragment(t, file), "Import successful!"
		switch {
		case !newer.Known(version, text):
			for _, complaint := range newer.Complaints(t, text) {
				t.Errorf("%s: %s", file, complaint)
			}
			continue
		case filepath.Ext(file) == ".tf":
			write("import.tf", text)
			text, want = "terraform apply -auto-approve -input=false -no-color", "1 imported, 0 added, 0 changed, 0 destroyed"
		}
		if out, err := cli.Shell(t, text).CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
		cli.MustBeUnchanged(t)
		write("import.tf", "")
		if err := os.Remove(filepath.Join(cli.Dir, "terraform.tfstate")); err != nil {
			t.Fatal(err)
		}
	}
}

// fragment is a file with the addresses of this test in place of its own.
func (s stage) fragment(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(
		"http://10.0.0.5:8081", s.agent.URL,
		"https://vps.example.org:7001", s.manager.URL,
		`"127.0.0.1"`, fmt.Sprintf("%q", s.host),
		"server_id = \"minecraft-1\"", fmt.Sprintf("server_id = \"minecraft-1\"\n  host_ip = %q", s.host),
	).Replace(string(text))
}

// referencePages runs the fragments together, against this test's manager and agent.
func referencePages(t *testing.T, files ...string) {
	s := newStage(t, 8123, 24454, 25565, 30000, 30001)
	var pages string
	for _, file := range files {
		pages += s.fragment(t, file)
	}
	// Alone, the data source reads what exists; here it is made in the same apply.
	pages = strings.Replace(pages, `data "rathole_instance" "satisfactory" {`, `data "rathole_instance" "satisfactory" {
  depends_on = [rathole_instance.satisfactory]`, 1)
	s.run(t, resource.TestStep{
		Config: pages,
		ConfigVariables: config.Variables{
			"rathole_token": config.StringVariable(testkit.Token), "rathole_agent_token": config.StringVariable(testkit.Token),
		},
		ConfigStateChecks: []statecheck.StateCheck{
			reachable{t, "rathole_instance.satisfactory", both},
			statecheck.ExpectKnownValue("rathole_instance.minecraft", tfjsonpath.New("status"), knownvalue.StringExact("healthy")),
			statecheck.ExpectKnownOutputValue("is_it_up", knownvalue.StringExact("healthy")),
		},
	})
}
