// Package examples runs every example of this directory: the real Terraform, a real manager, agent and engine, and a player
// who reaches the game.
package examples_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/config"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/provider"
)

// TestMain gives the provider its token, and its name, the way a user's machine does.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"RATHOLE_TOKEN": testkit.Token, "TF_ACC_PROVIDER_NAMESPACE": "satishost"} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// stage is a manager, an agent and a game.
type stage struct {
	manager *testkit.Manager
	agent   *testkit.Agent
	host    string
}

func newStage(t *testing.T, ports ...int) stage {
	t.Helper()
	testkit.MustUseTerraform(t)
	return stage{
		manager: testkit.StartManager(t, nil), agent: testkit.StartAgent(t, nil),
		host: testkit.StartGame(t, "the game", ports...).Host.String(),
	}
}

func (s stage) variables() config.Variables {
	return config.Variables{
		"manager_url": config.StringVariable(s.manager.URL), "agent_url": config.StringVariable(s.agent.URL), "host_ip": config.StringVariable(s.host),
	}
}

// reachable is a check that players reach the game at every endpoint of a resource.
type reachable struct {
	t         *testing.T
	address   string
	protocols []api.Protocol
}

// CheckState implements statecheck.StateCheck.
func (r reachable) CheckState(_ context.Context, req statecheck.CheckStateRequest, resp *statecheck.CheckStateResponse) {
	r.t.Helper()
	for _, found := range req.State.Values.RootModule.Resources {
		endpoints, ok := found.AttributeValues["endpoints"].(map[string]any)
		if found.Address != r.address || !ok {
			continue
		}
		for _, endpoint := range endpoints {
			testkit.MustReach(r.t, fmt.Sprint(endpoint), "the game", r.protocols...)
		}
		return
	}
	resp.Error = fmt.Errorf("%s has no endpoints", r.address)
}

// mustMake makes both halves of an instance by hand.
func (s stage) mustMake(t *testing.T, id string, spec api.InstanceSpec) api.Instance {
	t.Helper()
	made, _, err := s.manager.Create(t.Context(), api.CreateInstance{ServerID: id, InstanceSpec: spec}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := s.manager.ClientConfig(t.Context(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.agent.Configure(t.Context(), id, cfg.Config, false); err != nil {
		t.Fatal(err)
	}
	return made
}

// run applies, checks, plans again without changes, destroys, and looks whether anything is left.
func (s stage) run(t *testing.T, step resource.TestStep) {
	t.Helper()
	step.ProtoV6ProviderFactories = factories()
	again := step
	again.ConfigStateChecks = nil
	again.ConfigPlanChecks = resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}}
	resource.UnitTest(t, resource.TestCase{Steps: []resource.TestStep{step, again}})
	s.mustBeEmpty(t)
}

// mustBeEmpty checks that nothing is left on either side.
func (s stage) mustBeEmpty(t *testing.T) {
	t.Helper()
	instances, err := s.manager.List(t.Context(), "", "")
	if err != nil || len(instances) != 0 {
		t.Errorf("left on the manager: %v %v", instances, err)
	}
	clients, err := s.agent.List(t.Context())
	if err != nil || len(clients) != 0 {
		t.Errorf("left on the agent: %v %v", clients, err)
	}
}

var both = []api.Protocol{api.TCP, api.UDP}

func factories() map[string]func() (tfprotov6.ProviderServer, error) {
	return map[string]func() (tfprotov6.ProviderServer, error){
		"rathole": providerserver.NewProtocol6WithError(provider.New("test")()),
	}
}

// runner runs files of this directory, whose paths it is given.
type runner struct {
	run   func(t *testing.T, files ...string)
	files []string
}

func runners() []runner {
	return []runner{
		{quickstart, []string{"quickstart/main.tf"}},
		{satisfactory, []string{"satisfactory/main.tf"}},
		{manyServers, []string{"many-servers/main.tf"}},
		{importing, []string{"import/main.tf"}},
		{referencePages, []string{"provider/provider.tf", "resources/rathole_instance/resource.tf", "data-sources/rathole_instance/data-source.tf"}},
		{importPage, []string{
			"resources/rathole_instance/resource.tf", "resources/rathole_instance/import.sh", "resources/rathole_instance/import-by-string-id.tf",
			"resources/rathole_instance/import-identity.tf",
		}},
		{dataSourcePages, []string{"data-sources/rathole_instances/data-source.tf", "data-sources/rathole_manager/data-source.tf"}},
		{clientConfigPage, []string{"ephemeral-resources/rathole_client_config/ephemeral-resource.tf"}},
		{gameServicesPage, []string{"functions/game_services/function.tf"}},
		{parseClientConfigPage, []string{"functions/parse_client_config/function.tf", "functions/parse_client_config/client.toml"}},
		{actionPages, []string{
			"actions/rathole_instance_probe/action.tf", "actions/rathole_instance_restart/action.tf", "actions/rathole_instance_rotate_secret/action.tf",
		}},
		{listPage, []string{"list-resources/rathole_instance/list-resource.tfquery.hcl"}},
	}
}

// TestExamples runs every file of this directory. One that nobody runs is a failure.
func TestExamples(t *testing.T) {
	t.Parallel()
	run := map[string]bool{}
	for _, r := range runners() {
		for _, file := range r.files {
			run[file] = true
		}
		t.Run(r.files[0], func(t *testing.T) {
			t.Parallel()
			r.run(t, r.files...)
		})
	}
	err := fs.WalkDir(os.DirFS("."), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, "_test.go") && !run[path] {
			t.Errorf("nobody runs %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func quickstart(t *testing.T, files ...string) {
	s := newStage(t, 30000, 30001)
	s.run(t, resource.TestStep{
		ConfigDirectory: config.StaticDirectory(filepath.Dir(files[0])), ConfigVariables: s.variables(),
		ConfigStateChecks: []statecheck.StateCheck{reachable{t, "rathole_instance.game", both}},
	})
}

func satisfactory(t *testing.T, files ...string) {
	s := newStage(t, 7777, 8888)
	s.run(t, resource.TestStep{
		ConfigDirectory: config.StaticDirectory(filepath.Dir(files[0])), ConfigVariables: s.variables(),
		ConfigStateChecks: []statecheck.StateCheck{
			reachable{t, "rathole_instance.satisfactory", both},
			statecheck.ExpectKnownOutputValue("join", knownvalue.StringExact(fmt.Sprintf("%s:7777", s.manager.Bind))),
		},
	})
}

// manyServers uses the command line itself: the acceptance test framework does not know for_each with names.
func manyServers(t *testing.T, files ...string) {
	s := newStage(t, 2456, 2460, 25565, 34197)
	cli := testkit.NewCLI(t, filepath.Dir(files[0]))
	variables := map[string]any{"manager_url": s.manager.URL, "agent_url": s.agent.URL, "host_ip": s.host}
	cli.Variables(t, variables)
	cli.Apply(t)
	cli.MustBeUnchanged(t)
	reach := func() {
		t.Helper()
		for name, address := range cli.Outputs(t)["addresses"].(map[string]any) {
			protocol := api.UDP
			if name == "minecraft" {
				protocol = api.TCP
			}
			testkit.MustReach(t, address.(string), "the game", protocol)
		}
	}
	reach()
	// One less, one more: the others are not touched.
	variables["servers"] = map[string]any{
		"valheim-family": map[string]any{"port": 2460}, "factorio": map[string]any{"port": 34197}, "valheim-work": map[string]any{"port": 2456},
		"minecraft": map[string]any{"port": 25565, "protocols": []string{"tcp"}},
	}
	cli.Variables(t, variables)
	if out := cli.Apply(t); !strings.Contains(out, "1 added, 0 changed, 1 destroyed") {
		t.Errorf("more than one server was touched:\n%s", out)
	}
	reach()
	cli.Destroy(t)
	s.mustBeEmpty(t)
}

func importing(t *testing.T, files ...string) {
	s := newStage(t, 27015)
	made := s.mustMake(t, "srv_made_by_hand", api.InstanceSpec{GamePort: 27015, HostIP: s.host, AgentURL: s.agent.URL})
	s.run(t, resource.TestStep{
		ConfigDirectory: config.StaticDirectory(filepath.Dir(files[0])), ConfigVariables: s.variables(),
		ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
			plancheck.ExpectResourceAction("rathole_instance.existing", plancheck.ResourceActionNoop),
		}},
		ConfigStateChecks: []statecheck.StateCheck{
			reachable{t, "rathole_instance.existing", both},
			statecheck.ExpectKnownValue("rathole_instance.existing", tfjsonpath.New("revision"), knownvalue.Int64Exact(made.Revision)),
		},
	})
}
