// Package newer is for what a page or an example shows that the Terraform at hand may be too old for: whether it is, and if so,
// what the provider's own schemas say of it.
package newer

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

// Version is that of the Terraform, or OpenTofu, of a command line.
func Version(t testing.TB, cli *testkit.CLI) *goversion.Version {
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

var since = regexp.MustCompile(`Terraform (1\.\d+) or later`)

// Known tells whether a version has what a mark says that it takes: "Terraform 1.14 or later".
func Known(version *goversion.Version, mark string) bool {
	found := since.FindStringSubmatch(mark)
	return len(found) == 0 || version.Core().GreaterThanOrEqual(goversion.Must(goversion.NewVersion(found[1])))
}

// Blocks are those of a configuration.
func Blocks(t testing.TB, text string) hclsyntax.Blocks {
	t.Helper()
	file, diags := hclsyntax.ParseConfig([]byte(text), "text", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("%v\n%s", diags, text)
	}
	return file.Body.(*hclsyntax.Body).Blocks
}

// Complaints holds blocks that a Terraform may not know against the provider's schemas: its types must exist, and have
// the attributes that are set, and all that must be set is.
func Complaints(t testing.TB, text string) (all []string) {
	t.Helper()
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
	for _, b := range Blocks(t, text) {
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
			b = Config(b)
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

// Config is the block in which an action or a list has its attributes.
func Config(b *hclsyntax.Block) *hclsyntax.Block {
	i := slices.IndexFunc(b.Body.Blocks, func(b *hclsyntax.Block) bool { return b.Type == "config" })
	if i < 0 {
		return &hclsyntax.Block{Body: &hclsyntax.Body{}}
	}
	return b.Body.Blocks[i]
}

// identity makes a block of the attribute in which an import has what identifies the resource.
func identity(t testing.TB, b *hclsyntax.Block) *hclsyntax.Block {
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
