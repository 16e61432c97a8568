package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-version"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
)

// TestAdoptWithoutConfiguration has the command line write the configuration of an instance that others made, and take it
// over as it is. By its identity, that needs Terraform or OpenTofu 1.12.
func TestAdoptWithoutConfiguration(t *testing.T) {
	t.Parallel()
	specs := map[string]api.InstanceSpec{
		"game and beacon": {GamePort: 30000, BeaconPort: 30001},
		"services": {Services: map[string]api.ServiceSpec{
			"game":  {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: 30000, PublicPort: 30000},
			"query": {Protocols: []api.Protocol{api.UDP}, LocalPort: 30002}, // on a port that the manager chooses
		}},
	}
	for by, block := range map[string]string{"id": `id = "srv_found"`, "identity": `identity = { server_id = "srv_found" }`} {
		for what, spec := range specs {
			t.Run(what+" by "+by, func(t *testing.T) {
				t.Parallel()
				if by == "identity" {
					mustKnowIdentities(t)
				}
				s := newStage(t)
				spec.HostIP, spec.AgentURL = s.game.Host.String(), s.agent.URL
				made, _, err := s.manager.Create(t.Context(), api.CreateInstance{ServerID: "srv_found", InstanceSpec: spec}, client.CreateOptions{})
				if err != nil {
					t.Fatal(err)
				}
				cfg, err := s.manager.ClientConfig(t.Context(), "srv_found", "")
				if err == nil {
					_, err = s.agent.Configure(t.Context(), "srv_found", cfg.Config, false)
				}
				if err != nil {
					t.Fatal(err)
				}
				s.write(t, fmt.Sprintf("import {\n  to = rathole_instance.found\n  %s\n}\n", block))
				s.cli.MustRun(t, "plan", "-input=false", "-generate-config-out=found.tf")
				if out := s.cli.Apply(t); !strings.Contains(out, "1 imported, 0 added, 0 changed, 0 destroyed") {
					written, _ := os.ReadFile(filepath.Join(s.cli.Dir, "found.tf"))
					t.Errorf("not taken over as it is:\n%s\n%s", written, out)
				}
				s.cli.MustBeUnchanged(t)
				if now, err := s.manager.Get(t.Context(), "srv_found"); err != nil || now.UID != made.UID || now.Revision != made.Revision {
					t.Errorf("it was %s.%d, and is %s.%d, %v", made.UID, made.Revision, now.UID, now.Revision, err)
				}
				testkit.MustReach(t, s.public(30000), "satisfactory", api.TCP, api.UDP)
				s.cli.Destroy(t)
				s.mustBeEmpty(t)
			})
		}
	}
}

// mustKnowIdentities skips a test where the command line is older than what it tests.
func mustKnowIdentities(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testkit.Terraform(t), "version", "-json")
	cmd.Dir = t.TempDir()
	answer, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Version string `json:"terraform_version"`
	}
	if err := json.Unmarshal(answer, &said); err != nil {
		t.Fatal(err)
	}
	have, err := version.NewVersion(said.Version)
	if err != nil {
		t.Fatal(err)
	}
	if have.Core().LessThan(version.Must(version.NewVersion("1.12.0"))) {
		t.Skipf("version %s knows no identities: make test-tofu has one that does", have)
	}
}
