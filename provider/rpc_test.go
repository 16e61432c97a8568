package provider

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// rpc drives the provider as Terraform does, but without Terraform: for warnings, which a command line only prints, for
// values that are not known, and for calls that must not happen.
type rpc struct {
	tfprotov6.ProviderServer
	t      *testing.T
	schema tftypes.Object // of rathole_instance
}

// values is an object's attributes; those left out are null.
type values map[string]tftypes.Value

func text(s string) tftypes.Value { return tftypes.NewValue(tftypes.String, s) }
func number(n int) tftypes.Value  { return tftypes.NewValue(tftypes.Number, n) }
func unknownText() tftypes.Value  { return tftypes.NewValue(tftypes.String, tftypes.UnknownValue) }
func (v values) with(o values) values {
	merged := values{}
	for _, m := range []values{v, o} {
		for name, value := range m {
			merged[name] = value
		}
	}
	return merged
}

// newRPC configures a provider.
func newRPC(t *testing.T, env map[string]string, config values) *rpc {
	t.Helper()
	return configure(t, providerserver.NewProtocol6(testProvider(env))(), config)
}

// configure configures a server of the provider.
func configure(t *testing.T, server tfprotov6.ProviderServer, config values) *rpc {
	t.Helper()
	r := &rpc{ProviderServer: server, t: t}
	resource, provider := schemaTypes()
	r.schema = resource
	resp, err := r.ConfigureProvider(t.Context(), &tfprotov6.ConfigureProviderRequest{
		Config: r.encode(provider, config), TerraformVersion: "1.11.4",
	})
	r.must(err, resp.Diagnostics)
	return r
}

// schemaTypes gives the types of a rathole_instance and of the provider block, asked for once.
var schemaTypes = sync.OnceValues(func() (resource tftypes.Object, provider tftypes.Type) {
	schemas, err := providerserver.NewProtocol6(testProvider(nil))().GetProviderSchema(context.Background(), &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		panic(err)
	}
	return schemas.ResourceSchemas["rathole_instance"].ValueType().(tftypes.Object), schemas.Provider.ValueType()
})

// on configures a provider for a backend.
func (b backend) rpc(t *testing.T) *rpc {
	t.Helper()
	return newRPC(t, nil, values{"manager_url": text(b.ManagerURL), "token": text(b.Token.Reveal())})
}

// resource is a configuration of one resource with both halves.
func (b backend) resource(more values) values {
	return values{"server_id": text("srv"), "game_port": number(b.Ports[0]), "agent_url": text(b.AgentURL)}.with(more)
}

// servicesOf is the value of the attribute services.
func servicesOf(services map[string]values) tftypes.Value {
	resource, _ := schemaTypes()
	typ := resource.AttributeTypes["services"]
	service := typ.(tftypes.Map).ElementType.(tftypes.Object)
	all := map[string]tftypes.Value{}
	for name, given := range services {
		one := map[string]tftypes.Value{}
		for field, typ := range service.AttributeTypes {
			one[field] = tftypes.NewValue(typ, nil)
			if v, ok := given[field]; ok {
				one[field] = v
			}
		}
		all[name] = tftypes.NewValue(service, one)
	}
	return tftypes.NewValue(typ, all)
}

func protocols(names ...string) tftypes.Value {
	all := []tftypes.Value{}
	for _, name := range names {
		all = append(all, text(name))
	}
	return tftypes.NewValue(tftypes.Set{ElementType: tftypes.String}, all)
}

func (r *rpc) object(v values) tftypes.Value {
	r.t.Helper()
	all := map[string]tftypes.Value{}
	for name, typ := range r.schema.AttributeTypes {
		all[name] = tftypes.NewValue(typ, nil)
		if given, ok := v[name]; ok {
			all[name] = given
		}
	}
	return tftypes.NewValue(r.schema, all)
}

func (r *rpc) encode(typ tftypes.Type, v values) *tfprotov6.DynamicValue {
	r.t.Helper()
	all := map[string]tftypes.Value{}
	for name, typ := range typ.(tftypes.Object).AttributeTypes {
		all[name] = tftypes.NewValue(typ, nil)
		if given, ok := v[name]; ok {
			all[name] = given
		}
	}
	return r.dynamic(typ, tftypes.NewValue(typ, all))
}

func (r *rpc) dynamic(typ tftypes.Type, v tftypes.Value) *tfprotov6.DynamicValue {
	r.t.Helper()
	d, err := tfprotov6.NewDynamicValue(typ, v)
	if err != nil {
		r.t.Fatal(err)
	}
	return &d
}

func (r *rpc) must(err error, diags []*tfprotov6.Diagnostic) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, d := range diags {
		if d.Severity == tfprotov6.DiagnosticSeverityError {
			r.t.Fatalf("%s: %s", d.Summary, d.Detail)
		}
	}
}

// planned plans a change of prior (nil: none) to a configuration, as Terraform proposes it: what the configuration leaves out
// keeps its prior value if the provider computes it.
func (r *rpc) planned(ctx context.Context, prior *tftypes.Value, config values, h held) *tfprotov6.PlanResourceChangeResponse {
	r.t.Helper()
	was := tftypes.NewValue(r.schema, nil)
	proposed := r.object(config)
	if prior != nil {
		was = *prior
		merged := r.fields(proposed)
		for name, before := range r.fields(was) {
			computed := strings.Contains(" id rathole_port endpoints launch_arguments status client_config_sha256 revision drift host_ip transport enabled ", " "+name+" ")
			if computed && merged[name].IsNull() {
				merged[name] = before
			}
		}
		proposed = tftypes.NewValue(r.schema, merged)
	}
	resp, err := r.PlanResourceChange(ctx, &tfprotov6.PlanResourceChangeRequest{
		TypeName: "rathole_instance", PriorState: r.dynamic(r.schema, was), PriorPrivate: h.private, PriorIdentity: h.identity,
		ProposedNewState: r.dynamic(r.schema, proposed), Config: r.dynamic(r.schema, r.object(config)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

// plan plans a change of prior (nil: none) to a configuration.
func (r *rpc) plan(prior *tftypes.Value, config values) (tftypes.Value, []*tfprotov6.Diagnostic) {
	r.t.Helper()
	resp := r.planned(r.t.Context(), prior, config, held{})
	return r.decode(resp.PlannedState), resp.Diagnostics
}

// apply plans and applies, and gives what the apply says.
func (r *rpc) apply(ctx context.Context, prior *tftypes.Value, config values) (tftypes.Value, []*tfprotov6.Diagnostic) {
	r.t.Helper()
	planned, diags := r.plan(prior, config)
	r.must(nil, diags)
	was := tftypes.NewValue(r.schema, nil)
	if prior != nil {
		was = *prior
	}
	resp, err := r.ApplyResourceChange(ctx, &tfprotov6.ApplyResourceChangeRequest{
		TypeName: "rathole_instance", PriorState: r.dynamic(r.schema, was),
		PlannedState: r.dynamic(r.schema, planned), Config: r.dynamic(r.schema, r.object(config)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return r.decode(resp.NewState), resp.Diagnostics
}

// read refreshes a state.
func (r *rpc) read(state tftypes.Value) (tftypes.Value, []*tfprotov6.Diagnostic) {
	r.t.Helper()
	h, diags := r.refresh(r.t.Context(), held{state: state})
	return h.state, diags
}

func (r *rpc) decode(d *tfprotov6.DynamicValue) tftypes.Value {
	r.t.Helper()
	if d == nil {
		return tftypes.NewValue(r.schema, nil)
	}
	v, err := d.Unmarshal(r.schema)
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

func (r *rpc) fields(v tftypes.Value) map[string]tftypes.Value {
	r.t.Helper()
	fields := map[string]tftypes.Value{}
	if err := v.As(&fields); err != nil {
		r.t.Fatal(err)
	}
	return fields
}

// summaries lists diagnostics as "W summary: detail".
func summaries(diags []*tfprotov6.Diagnostic) (all []string) {
	for _, d := range diags {
		kind := "E "
		if d.Severity == tfprotov6.DiagnosticSeverityWarning {
			kind = "W "
		}
		all = append(all, kind+d.Summary+": "+d.Detail)
	}
	return all
}

// mustSay checks that there is exactly one diagnostic, and its beginning.
func mustSay(t *testing.T, diags []*tfprotov6.Diagnostic, beginning string) {
	t.Helper()
	if got := summaries(diags); len(got) != 1 || !strings.HasPrefix(got[0], beginning) {
		t.Errorf("diagnostics are %q, want one that begins %q", got, beginning)
	}
}

// mustBeSilent checks that there is no diagnostic.
func mustBeSilent(t *testing.T, diags []*tfprotov6.Diagnostic) {
	t.Helper()
	if got := summaries(diags); len(got) != 0 {
		t.Errorf("diagnostics are %q, want none", got)
	}
}

// mustBegin checks that there are as many diagnostics as beginnings, each with its own.
func mustBegin(t *testing.T, diags []*tfprotov6.Diagnostic, beginnings []string) {
	t.Helper()
	got := summaries(diags)
	ok := len(got) == len(beginnings)
	for i := range beginnings {
		ok = ok && strings.HasPrefix(got[i], beginnings[i])
	}
	if !ok {
		t.Errorf("diagnostics are %q, want %q", got, beginnings)
	}
}

// attributes lists the attributes that diagnostics are about, such as services.query.probe; "" for those about none.
func attributes(diags []*tfprotov6.Diagnostic) (all []string) {
	for _, d := range diags {
		var names []string
		for _, step := range d.Attribute.Steps() {
			names = append(names, fmt.Sprint(step))
		}
		all = append(all, strings.Join(names, "."))
	}
	return all
}
