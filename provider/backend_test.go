package provider

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// address is that of the one resource in most tests.
const address = "rathole_instance.test"

// TestMain finds a Terraform for the tests that run one, and keeps a developer's settings out of them.
func TestMain(m *testing.M) {
	binary := os.Getenv("TF_ACC_TERRAFORM_PATH")
	for _, name := range []string{"terraform", "tofu"} {
		if found, err := exec.LookPath(name); binary == "" && err == nil {
			binary = found
		}
	}
	_ = os.Setenv("TF_ACC_TERRAFORM_PATH", binary)
	if strings.HasPrefix(filepath.Base(binary), "tofu") {
		_ = os.Setenv("TF_ACC_PROVIDER_HOST", "registry.opentofu.org")
	}
	_ = os.Setenv("CHECKPOINT_DISABLE", "1") // no version check over the network
	_ = os.Unsetenv("TF_CLI_CONFIG_FILE")    // dev_overrides would take the place of the provider under test
	os.Exit(m.Run())
}

// backend is a world that stories run against: a manager and an agent, faked or real.
type backend struct {
	ManagerURL, AgentURL string
	Token                secret.String
	Ports                []int // public ports that are free, ten of them
}

// storyPorts are the public ports that stories use.
func storyPorts() (ports []int) {
	for port := 30000; port < 30010; port++ {
		ports = append(ports, port)
	}
	return ports
}

func (b backend) manager(t *testing.T) *client.Manager {
	t.Helper()
	m, err := client.NewManager(client.Config{URL: b.ManagerURL, Token: b.Token})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (b backend) agent(t *testing.T) *client.Agent {
	t.Helper()
	a, err := client.NewAgent(client.Config{URL: b.AgentURL, Token: b.Token})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// mustHave checks how many instances and clients there are.
func (b backend) mustHave(t *testing.T, instances, clients int) {
	t.Helper()
	if err := b.has(t, instances, clients); err != nil {
		t.Fatal(err)
	}
}

func (b backend) has(t *testing.T, instances, clients int) error {
	have, err := b.manager(t).List(t.Context(), "", "")
	if err != nil {
		return err
	}
	run, err := b.agent(t).List(t.Context())
	if err != nil {
		return err
	}
	if len(have) != instances || len(run) != clients {
		return fmt.Errorf("there are %d instances and %d clients, want %d and %d", len(have), len(run), instances, clients)
	}
	return nil
}

// provider is the provider block.
func (b backend) provider() string {
	return fmt.Sprintf("provider \"rathole\" {\n  manager_url = %q\n  token = %q\n}\n", b.ManagerURL, b.Token.Reveal())
}

// config is a configuration of one resource with both halves; its timeouts are short enough for tests that fail.
func (b backend) config(id, body string) string {
	return b.provider() + b.instance("test", id, body)
}

func (b backend) instance(name, id, body string) string {
	return b.bare(name, id, fmt.Sprintf("agent_url = %q\n%s", b.AgentURL, body))
}

// bare is a resource without an agent.
func (b backend) bare(name, id, body string) string {
	return fmt.Sprintf("resource \"rathole_instance\" %q {\n  server_id = %q\n%s\n}\n", name, id, body)
}

// game is the simplest body.
func (b backend) game() string { return fmt.Sprintf("game_port = %d\n", b.Ports[0]) }

// hasty lets what fails, fail within a second.
const hasty = "timeouts = { create = \"1s\", update = \"1s\", delete = \"1s\" }\n"

// factories are the provider servers of a configuration, by local name.
type factories map[string]func() (tfprotov6.ProviderServer, error)

func ratholeAlone() factories {
	return factories{"rathole": providerserver.NewProtocol6WithError(testProvider(nil))}
}

// run runs the steps with the real Terraform, and checks that a destroy at the end leaves nothing.
func (b backend) run(t *testing.T, steps ...resource.TestStep) {
	t.Helper()
	b.runWith(t, ratholeAlone(), steps...)
}

// runWith is run with more providers.
func (b backend) runWith(t *testing.T, providers factories, steps ...resource.TestStep) {
	t.Helper()
	unitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: providers,
		CheckDestroy:             func(*terraform.State) error { return b.has(t, 0, 0) },
		Steps:                    steps,
	})
}

// unitTest runs a case with the real Terraform.
func unitTest(t *testing.T, c resource.TestCase) {
	t.Helper()
	if os.Getenv("TF_ACC_TERRAFORM_PATH") == "" {
		t.Fatal("no terraform: put terraform or tofu into PATH, or set TF_ACC_TERRAFORM_PATH to one")
	}
	resource.UnitTest(t, c)
}

// testProvider is the provider with an environment of its own and less patience.
func testProvider(env map[string]string) *ratholeProvider {
	l := defaultLimits()
	l.agentRead, l.agentStop, l.planCheck, l.portWait, l.cleanup = time.Second, time.Second, time.Second, 2*time.Second, 8*time.Second
	return &ratholeProvider{version: "test", getenv: func(name string) string { return env[name] }, limits: l}
}

// mustCreate makes an instance behind Terraform's back.
func (b backend) mustCreate(t *testing.T, id string, spec api.InstanceSpec) {
	t.Helper()
	if _, _, err := b.manager(t).Create(t.Context(), api.CreateInstance{ServerID: id, InstanceSpec: spec}, client.CreateOptions{IdempotencyKey: "another"}); err != nil {
		t.Fatal(err)
	}
}

// mustDelete removes a server half behind Terraform's back.
func (b backend) mustDelete(t *testing.T, id string) {
	t.Helper()
	if err := b.manager(t).Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// mustStop removes a client half behind Terraform's back.
func (b backend) mustStop(t *testing.T, id string) {
	t.Helper()
	if _, err := b.agent(t).Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}
