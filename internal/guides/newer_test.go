package guides_test

import (
	"encoding/json"
	"regexp"
	"slices"
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
	"terraform query -generate-config-out=found.tf\n": "Terraform 1.14 or later",
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
	return found == nil || g.version.Core().GreaterThanOrEqual(goversion.Must(goversion.NewVersion(found[1])))
}

// mustValidate holds a block that this Terraform does not know against the provider's schemas: its types exist, and have the
// attributes that are set and all that must be.
func mustValidate(t *testing.T, text string) {
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
	checked := 0
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		want := map[string]bool{} // attribute, required
		switch b.Type {
		case "action", "list":
			schema := schemas.ListResourceSchemas[b.Labels[0]]
			if b.Type == "action" {
				schema = schemas.ActionSchemas[b.Labels[0]].Schema
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
		checked++
		for name := range b.Body.Attributes {
			if _, ok := want[name]; !ok {
				t.Errorf("the provider knows no %s:\n%s", name, text)
			}
		}
		for name, required := range want {
			if _, ok := b.Body.Attributes[name]; required && !ok {
				t.Errorf("%s must be set:\n%s", name, text)
			}
		}
	}
	if checked == 0 {
		t.Errorf("nothing of this is known to need a newer Terraform:\n%s", text)
	}
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
