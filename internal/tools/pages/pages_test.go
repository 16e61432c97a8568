package pages

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"

	"github.com/satishost/terraform-provider-rathole/provider"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	docs := t.TempDir()
	if err := Write(t.Context(), docs, "../../../examples"); err != nil {
		t.Fatal(err)
	}
	for path, holds := range map[string][]string{
		"actions/instance_restart.md":       {"# rathole_instance_restart (Action)", "### Required\n\n- `server_id` (String) ", "action \"rathole_instance_restart\""},
		"actions/instance_rotate_secret.md": {"rathole_instance_rotate_secret"},
		"list-resources/instance.md":        {"(List Resource)", "### Optional\n\n- `labels` (Map of String) ", "list \"rathole_instance\""},
	} {
		text, err := os.ReadFile(filepath.Join(docs, path))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range holds {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q:\n%s", path, want, text)
			}
		}
	}
	if err := Write(t.Context(), docs, t.TempDir()); err == nil {
		t.Error("pages without examples were written")
	}
}

// TestIdentityIsAsItsTemplateSays: the resource's page has the identity from its template, since the command line may not know it.
func TestIdentityIsAsItsTemplateSays(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../templates/resources/instance.md.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	schemas, err := providerserver.NewProtocol6(provider.New("test")())().GetResourceIdentitySchemas(t.Context(), &tfprotov6.GetResourceIdentitySchemasRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, a := range schemas.IdentitySchemas["rathole_instance"].IdentityAttributes {
		fmt.Fprintf(&lines, "- `%s` (%s) %s\n", a.Name, typeName(a.Type), a.Description)
	}
	if want := "### Identity Schema\n\n#### Required\n\n" + lines.String() + "\nIn Terraform"; !strings.Contains(string(text), want) {
		t.Errorf("the page should have\n%s", want)
	}
}
