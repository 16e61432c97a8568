package provider

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
)

// TestStoredStates: what any release has written into a state must be read by this one. The file names say by which schema
// version and what is in it; a new version of the schema adds a file, and none is ever removed.
func TestStoredStates(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/states/v0-*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("found %q, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			stored, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			f := newFake(t)
			b := f.backend()
			r := b.rpc(t)
			resp, err := r.UpgradeResourceState(t.Context(), &tfprotov6.UpgradeResourceStateRequest{
				TypeName: "rathole_instance", Version: 0, RawState: &tfprotov6.RawState{JSON: stored},
			})
			r.must(err, resp.Diagnostics)
			fields := r.fields(r.decode(resp.UpgradedState))
			if !fields["server_id"].Equal(text("srv")) || !fields["game_port"].Equal(number(30000)) || !fields["agent_url"].Equal(text("http://10.0.0.5:8081")) {
				t.Errorf("upgraded to %v", fields)
			}
		})
	}
}

// TestSchemaVersion: whoever raises it writes an upgrade, and a stored state of the version before.
func TestSchemaVersion(t *testing.T) {
	t.Parallel()
	schemas, err := newFake(t).backend().rpc(t).GetProviderSchema(t.Context(), &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if v := schemas.ResourceSchemas["rathole_instance"].Version; v != 0 {
		t.Errorf("the schema's version is %d: add testdata/states/v%d-*.json to TestStoredStates", v, v-1)
	}
}
