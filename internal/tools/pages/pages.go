// Package pages writes the reference pages that tfplugindocs leaves out: it learns of actions and list resources from the
// command line alone, and one before Terraform 1.14 does not know them. The pages look as tfplugindocs' own do.
package pages

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/satishost/terraform-provider-rathole/provider"
)

//go:embed page.md.tmpl
var pageTemplate string

// page is one reference page.
type page struct {
	Kind        string // as in the title
	Name        string
	Description string
	Language    string // of the example
	Example     string
	Required    []attribute
	Optional    []attribute
}

type attribute struct{ Name, Type, Description string }

// Write writes the pages of all actions and list resources below docs, with the examples of the directory examples.
func Write(ctx context.Context, docs, examples string) error {
	schemas, err := providerserver.NewProtocol6(provider.New("dev")())().GetProviderSchema(ctx, &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		return fmt.Errorf("read the provider's schema: %w", err)
	}
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(schemas.ActionSchemas)) {
		p := newPage("Action", name, schemas.ActionSchemas[name].Schema)
		if err := p.write(t, filepath.Join(docs, "actions"), filepath.Join(examples, "actions", name, "action.tf"), "terraform"); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(schemas.ListResourceSchemas)) {
		p := newPage("List Resource", name, schemas.ListResourceSchemas[name])
		if err := p.write(t, filepath.Join(docs, "list-resources"), filepath.Join(examples, "list-resources", name, "list-resource.tfquery.hcl"), "hcl"); err != nil {
			return err
		}
	}
	return nil
}

func newPage(kind, name string, s *tfprotov6.Schema) page {
	p := page{Kind: kind, Name: name, Description: s.Block.Description}
	for _, a := range s.Block.Attributes {
		one := attribute{Name: a.Name, Type: typeName(a.Type), Description: a.Description}
		if a.Required {
			p.Required = append(p.Required, one)
			continue
		}
		p.Optional = append(p.Optional, one)
	}
	return p
}

// typeName is a type in tfplugindocs' words. An attribute of another type needs a name here first.
func typeName(t tftypes.Type) string {
	switch {
	case t.Is(tftypes.String):
		return "String"
	case t.Is(tftypes.Number):
		return "Number"
	case t.Is(tftypes.Bool):
		return "Boolean"
	case t.Is(tftypes.Map{ElementType: tftypes.String}):
		return "Map of String"
	default:
		return t.String()
	}
}

func (p page) write(t *template.Template, dir, example, language string) error {
	text, err := os.ReadFile(example)
	if err != nil {
		return fmt.Errorf("every page has an example: %w", err)
	}
	p.Example, p.Language = strings.TrimSpace(string(text)), language
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return fmt.Errorf("page of %s: %w", p.Name, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	_, short, _ := strings.Cut(p.Name, "_")
	return os.WriteFile(filepath.Join(dir, short+".md"), b.Bytes(), 0o644)
}
