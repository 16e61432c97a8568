package guides_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	goversion "github.com/hashicorp/go-version"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"

	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/provider"
)

// notRunnable are the commands of the guides that an older Terraform does not have, each with the version that it takes. A
// page names that version beside them.
var notRunnable = map[string]string{
	"terraform apply -invoke=action.rathole_instance_rotate_secret.one\n": "Terraform 1.14 or later",
	"terraform query -generate-config-out=found.tf\n":                     "Terraform 1.14 or later",
}

func cliVersion(t *testing.T, cli *testkit.CLI) *goversion.Version {
	t.Helper()
	var found struct {
		Version string `json:"terraform_version"`
	}
	text, err := cli.Command(t, "version", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	return goversion.Must(goversion.NewVersion(found.Version))
}

var newer = regexp.MustCompile(`Terraform (1\.\d+) or later`)

// known tells whether this Terraform has what a block's mark says that it takes: "Terraform 1.14 or later".
func (g *guide) known(t *testing.T, mark string) bool {
	t.Helper()
	found := newer.FindStringSubmatch(mark)
	return len(found) == 0 || g.version.Core().GreaterThanOrEqual(goversion.Must(goversion.NewVersion(found[1])))
}

// complaints holds a block that this Terraform does not know against the provider's schemas: its types must exist, and have
// the attributes that are set, and all that must be set is.
func complaints(t *testing.T, text string) (all []string) {
	t.Helper()
	file, diags := hclsyntax.ParseConfig([]byte(text), "guide", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("%v\n%s", diags, text)
	}
	server := providerserver.NewProtocol6(provider.New("test")())()
	schemas, err := server.GetProviderSchema(t.Context(), &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	identities, err := server.GetResourceIdentitySchemas(t.Context(), &tfprotov6.GetResourceIdentitySchemasRequest{})
	if err != nil {
		t.Fatal(err)
	}
	checked := false
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		want := map[string]bool{} // attribute, required
		switch b.Type {
		case "action", "list":
			schema := schemas.ListResourceSchemas[b.Labels[0]]
			if a := schemas.ActionSchemas[b.Labels[0]]; b.Type == "action" && a != nil {
				schema = a.Schema
			}
			if schema == nil {
				return append(all, "the provider has no "+b.Labels[0])
			}
			for _, a := range schema.Block.Attributes {
				want[a.Name] = a.Required
			}
			b = config(t, b)
		case "import":
			for _, a := range identities.IdentitySchemas["rathole_instance"].IdentityAttributes {
				want[a.Name] = a.RequiredForImport
			}
			b = identity(t, b)
		default:
			continue
		}
		checked = true
		for name := range b.Body.Attributes {
			if _, ok := want[name]; !ok {
				all = append(all, "the provider knows no "+name)
			}
		}
		for name, required := range want {
			if _, ok := b.Body.Attributes[name]; required && !ok {
				all = append(all, name+" must be set")
			}
		}
	}
	if !checked {
		all = append(all, "nothing of this is known to need a newer Terraform")
	}
	return all
}

// config is the block in which an action or a list has its attributes.
func config(t *testing.T, b *hclsyntax.Block) *hclsyntax.Block {
	t.Helper()
	i := slices.IndexFunc(b.Body.Blocks, func(b *hclsyntax.Block) bool { return b.Type == "config" })
	if i < 0 {
		return &hclsyntax.Block{Body: &hclsyntax.Body{}}
	}
	return b.Body.Blocks[i]
}

// identity makes a block of the attribute in which an import has what identifies the resource.
func identity(t *testing.T, b *hclsyntax.Block) *hclsyntax.Block {
	t.Helper()
	found := &hclsyntax.Block{Body: &hclsyntax.Body{Attributes: hclsyntax.Attributes{}}}
	object, ok := b.Body.Attributes["identity"]
	if !ok {
		t.Fatal("this import has no identity")
	}
	for _, item := range object.Expr.(*hclsyntax.ObjectConsExpr).Items {
		found.Body.Attributes[hcl.ExprAsKeyword(item.KeyExpr)] = &hclsyntax.Attribute{Expr: item.ValueExpr}
	}
	return found
}

func TestComplaints(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"action \"rathole_instance_restart\" \"a\" {\n  config {\n    server_id = \"x\"\n  }\n}": "",
		"action \"rathole_instance_restart\" \"a\" {\n  config {\n    server = \"x\"\n  }\n}":    "the provider knows no server, server_id must be set",
		"action \"rathole_instance_stop\" \"a\" {\n}":                                            "the provider has no rathole_instance_stop",
		"list \"rathole_instance\" \"l\" {\n  config {\n    name = \"x\"\n  }\n}":                "the provider knows no name",
		"import {\n  to = a.b\n  identity = {\n    id = \"x\"\n  }\n}":                           "the provider knows no id, server_id must be set",
		"resource \"rathole_instance\" \"r\" {\n}":                                               "nothing of this is known to need a newer Terraform",
	} {
		if got := strings.Join(complaints(t, text), ", "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
