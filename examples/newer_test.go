package examples_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/newer"
	"github.com/satishost/terraform-provider-rathole/provider"
)

// spoken is a provider that is spoken to as Terraform 1.14 does: what these examples need, and the Terraform at hand may not be.
type spoken struct {
	tfprotov6.ProviderServerWithActions
	tfprotov6.ProviderServerWithListResource
	schemas *tfprotov6.GetProviderSchemaResponse
}

// speak configures a provider for the stage.
func (s stage) speak(t *testing.T) spoken {
	t.Helper()
	server := providerserver.NewProtocol6(provider.New("test")())()
	schemas, err := server.GetProviderSchema(t.Context(), &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.ConfigureProvider(t.Context(), &tfprotov6.ConfigureProviderRequest{
		Config: encode(t, schemas.Provider, map[string]any{"manager_url": s.manager.URL}), TerraformVersion: "1.14.0",
	})
	if err != nil {
		t.Fatal(err)
	}
	mustBeSilent(t, resp.Diagnostics)
	actions, ok := server.(tfprotov6.ProviderServerWithActions)     //nolint:staticcheck // deprecated means: will be part of ProviderServer
	lists, too := server.(tfprotov6.ProviderServerWithListResource) //nolint:staticcheck // as above
	if !ok || !too {
		t.Fatal("the provider has no actions or no list resources")
	}
	return spoken{actions, lists, schemas}
}

// encode is a block with the given attributes; all others are null.
func encode(t *testing.T, s *tfprotov6.Schema, set map[string]any) *tfprotov6.DynamicValue {
	t.Helper()
	all := map[string]any{}
	for _, a := range s.Block.Attributes {
		all[a.Name] = set[a.Name]
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return &tfprotov6.DynamicValue{JSON: text}
}

func mustBeSilent(t *testing.T, diags []*tfprotov6.Diagnostic) {
	t.Helper()
	for _, d := range diags {
		t.Errorf("%s: %s", d.Summary, d.Detail)
	}
}

// block is the only block of a file, which the provider's schemas must know, with the command that its first line names.
func block(t *testing.T, file, command string) (kind string, config map[string]any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, complaint := range newer.Complaints(t, string(text)) {
		t.Errorf("%s: %s", file, complaint)
	}
	blocks := newer.Blocks(t, string(text))
	if len(blocks) != 1 || len(blocks[0].Labels) != 2 {
		t.Fatalf("%s has %d blocks", file, len(blocks))
	}
	b := blocks[0]
	command = strings.NewReplacer("TYPE", b.Labels[0], "NAME", b.Labels[1]).Replace(command)
	if !strings.HasPrefix(string(text), "# "+command+"\n") {
		t.Errorf("%s does not begin with the command %s", file, command)
	}
	return b.Labels[0], values(t, newer.Config(b))
}

// values are the attributes of a block; the examples have texts only.
func values(t *testing.T, b *hclsyntax.Block) map[string]any {
	t.Helper()
	all := map[string]any{}
	for name, a := range b.Body.Attributes {
		v, diags := a.Expr.Value(nil)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		all[name] = v.AsString()
	}
	return all
}

// actionPages invokes each action on an instance that is up, and whose game is there.
func actionPages(t *testing.T, files ...string) {
	s := newStage(t, 30000)
	made := s.mustMake(t, "srv_user123_abcd1234", api.InstanceSpec{GamePort: 30000, HostIP: s.host, AgentURL: s.agent.URL})
	if _, err := s.manager.Wait(t.Context(), made.ServerID, api.StatusHealthy, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	p := s.speak(t)
	for _, file := range files {
		kind, config := block(t, file, "terraform apply -invoke=action.TYPE.NAME")
		stream, err := p.InvokeAction(t.Context(), &tfprotov6.InvokeActionRequest{ActionType: kind, Config: encode(t, p.schemas.ActionSchemas[kind].Schema, config)})
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		for event := range stream.Events {
			switch e := event.Type.(type) {
			case tfprotov6.ProgressInvokeActionEventType:
				told++
			case tfprotov6.CompletedInvokeActionEventType:
				mustBeSilent(t, e.Diagnostics)
			}
		}
		if told == 0 {
			t.Errorf("%s does nothing", kind)
		}
	}
}

// listPage finds what the page says, and no more.
func listPage(t *testing.T, files ...string) {
	s := newStage(t)
	s.mustMake(t, "eu-1", api.InstanceSpec{GamePort: 30000})
	s.mustMake(t, "us-1", api.InstanceSpec{GamePort: 30001})
	p := s.speak(t)
	kind, config := block(t, files[0], "terraform query -generate-config-out=generated.tf")
	stream, err := p.ListResource(t.Context(), &tfprotov6.ListResourceRequest{TypeName: kind, Config: encode(t, p.schemas.ListResourceSchemas[kind], config), Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for result := range stream.Results {
		mustBeSilent(t, result.Diagnostics)
		found = append(found, result.DisplayName)
	}
	if !slices.Equal(found, []string{"eu-1"}) {
		t.Errorf("the list has %q", found)
	}
}
