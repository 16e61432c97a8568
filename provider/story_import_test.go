package provider

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
)

// storyGeneratedConfig imports every kind of instance, lets Terraform write the configuration, and expects that neither the
// import nor the next plan changes anything.
func storyGeneratedConfig(t *testing.T, b backend) {
	both, enabled := []api.Protocol{api.TCP, api.UDP}, false
	kinds := map[string]api.InstanceSpec{
		"game":     {GamePort: b.Ports[0], AgentURL: b.AgentURL},
		"beacon":   {GamePort: b.Ports[1], BeaconPort: b.Ports[2], AgentURL: b.AgentURL},
		"labels":   {GamePort: b.Ports[3], AgentURL: b.AgentURL, Labels: map[string]string{"owner": "me", "with space": "\"quoted\" ${and} more"}},
		"disabled": {GamePort: b.Ports[4], AgentURL: b.AgentURL, Enabled: &enabled},
		"noise":    {GamePort: b.Ports[5], AgentURL: b.AgentURL, Transport: api.TransportNoise},
		"probe":    {GamePort: b.Ports[6], AgentURL: b.AgentURL, Probe: api.ProbeSatisfactory},
		"no-agent": {GamePort: b.Ports[7]},
		"host-ip":  {GamePort: b.Ports[8], AgentURL: b.AgentURL, HostIP: "localhost"},
		"services": {AgentURL: b.AgentURL, Services: map[string]api.ServiceSpec{
			"both": {Protocols: both, LocalPort: 9987, PublicPort: b.Ports[9]}, "query": {Protocols: both[1:], LocalPort: 15777, Probe: api.ProbeA2S},
			"elsewhere": {Protocols: both[:1], LocalPort: 80, LocalHost: "localhost"},
		}},
	}
	imports := b.provider()
	for name, spec := range kinds {
		b.mustMake(t, name, spec)
		imports += fmt.Sprintf("import {\n  to = rathole_instance.%s\n  id = %q\n}\n", name, name)
	}
	cli := testkit.NewCLI(t, t.TempDir())
	head := "terraform {\n  required_providers {\n    rathole = { source = \"satishost/rathole\" }\n  }\n}\n"
	if err := os.WriteFile(filepath.Join(cli.Dir, "main.tf"), []byte(head+imports), 0o600); err != nil {
		t.Fatal(err)
	}
	cli.MustRun(t, "plan", "-input=false", "-generate-config-out=generated.tf")
	if out := cli.Apply(t); !strings.Contains(out, fmt.Sprintf("Resources: %d imported, 0 added, 0 changed, 0 destroyed", len(kinds))) {
		t.Fatalf("the import is not all that was done:\n%s", out)
	}
	cli.MustBeUnchanged(t)
	cli.Destroy(t)
	b.mustHave(t, 0, 0)
}

// mustMake makes both halves of an instance behind Terraform's back.
func (b backend) mustMake(t *testing.T, id string, spec api.InstanceSpec) {
	t.Helper()
	b.mustCreate(t, id, spec)
	if spec.AgentURL == "" || (spec.Enabled != nil && !*spec.Enabled) {
		return
	}
	cfg, err := b.manager(t).ClientConfig(t.Context(), id, "")
	if err == nil {
		_, err = b.agent(t).Configure(t.Context(), id, cfg.Config, false)
	}
	if err != nil {
		t.Fatal(err)
	}
}
