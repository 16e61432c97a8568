package provider

import (
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

func TestSchemasAreValid(t *testing.T) {
	t.Parallel()
	var r resource.SchemaResponse
	newInstanceResource().Schema(t.Context(), resource.SchemaRequest{}, &r)
	if diags := r.Schema.ValidateImplementation(t.Context()); diags.HasError() {
		t.Error(diags)
	}
	var d datasource.SchemaResponse
	newInstanceDataSource().Schema(t.Context(), datasource.SchemaRequest{}, &d)
	if diags := d.Schema.ValidateImplementation(t.Context()); diags.HasError() {
		t.Error(diags)
	}
}

// blank is the model of a configuration in which nothing is set.
func blank() instanceModel {
	return instanceModel{
		Services: types.MapNull(serviceType()), Labels: types.MapNull(types.StringType),
		Endpoints: types.MapNull(types.StringType), Drift: types.ListNull(types.StringType), Timeouts: timeouts.Value{},
	}
}

func serviceObject(port, public types.Int64, localHost types.String, protocols ...string) attr.Value {
	values := []attr.Value{}
	for _, p := range protocols {
		values = append(values, types.StringValue(p))
	}
	return types.ObjectValueMust(serviceType().AttrTypes, map[string]attr.Value{
		"protocols": types.SetValueMust(types.StringType, values), "local_port": port, "public_port": public, "local_host": localHost,
		"probe": types.StringNull(),
	})
}

func TestSpec(t *testing.T) {
	t.Parallel()
	m := blank()
	m.ServerID, m.HostIP, m.Enabled = types.StringValue("srv"), types.StringUnknown(), types.BoolValue(false)
	m.Labels = types.MapValueMust(types.StringType, map[string]attr.Value{"a": types.StringValue("b"), "later": types.StringUnknown()})
	m.Services = types.MapValueMust(serviceType(), map[string]attr.Value{
		"query": serviceObject(types.Int64Value(1), types.Int64Unknown(), types.StringNull(), "udp", "tcp"),
	})
	spec, complete, diags := m.spec(t.Context())
	if diags.HasError() || !complete {
		t.Fatalf("complete is %t, diagnostics %v", complete, diags)
	}
	disabled := false
	want := api.InstanceSpec{
		Services: map[string]api.ServiceSpec{"query": {Protocols: []api.Protocol{"tcp", "udp"}, LocalPort: 1}},
		Labels:   map[string]string{"a": "b"}, Enabled: &disabled,
	}
	if !reflect.DeepEqual(spec, want) {
		t.Errorf("got %+v, want %+v", spec, want)
	}

	for name, change := range map[string]func(*instanceModel){
		"server_id": func(m *instanceModel) { m.ServerID = types.StringUnknown() },
		"game_port": func(m *instanceModel) { m.GamePort = types.Int64Unknown() },
		"services":  func(m *instanceModel) { m.Services = types.MapUnknown(serviceType()) },
		"a service": func(m *instanceModel) {
			all := maps.Clone(m.Services.Elements())
			all["later"] = types.ObjectUnknown(serviceType().AttrTypes)
			m.Services = types.MapValueMust(serviceType(), all)
		},
		"a local port": func(m *instanceModel) {
			m.Services = types.MapValueMust(serviceType(), map[string]attr.Value{
				"query": serviceObject(types.Int64Unknown(), types.Int64Null(), types.StringNull(), "udp"),
			})
		},
	} {
		unknown := m
		change(&unknown)
		if _, complete, diags := unknown.spec(t.Context()); complete || diags.HasError() {
			t.Errorf("with %s unknown: complete is %t, diagnostics %v", name, complete, diags)
		}
	}
}

func TestTakeKeepsWhatMeansTheSame(t *testing.T) {
	t.Parallel()
	inst := api.Instance{
		ServerID: "srv", HostIP: "10.0.0.1", PublicHost: "2001:db8::1", Transport: api.TransportTCP, Enabled: true, Status: api.StatusHealthy,
		Labels: map[string]string{}, Services: map[string]api.Service{
			"a": {Protocols: []api.Protocol{api.UDP}, LocalPort: 1, PublicPort: 2, LocalHost: "10.0.0.1"},
			"b": {Protocols: []api.Protocol{api.UDP}, LocalPort: 3, PublicPort: 4, LocalHost: "10.0.0.1"},
			"c": {Protocols: []api.Protocol{api.UDP}, LocalPort: 5, PublicPort: 6, LocalHost: "10.0.0.9"},
		},
	}
	m := blank()
	m.Labels = types.MapValueMust(types.StringType, map[string]attr.Value{})
	m.Services = types.MapValueMust(serviceType(), map[string]attr.Value{
		"b": serviceObject(types.Int64Value(3), types.Int64Value(4), types.StringValue("10.0.0.1"), "udp"),
	})
	if diags := m.take(t.Context(), inst); diags.HasError() {
		t.Fatal(diags)
	}
	services, _, _ := m.services(t.Context())
	for name, want := range map[string]types.String{"a": types.StringNull(), "b": types.StringValue("10.0.0.1"), "c": types.StringValue("10.0.0.9")} {
		if got := services[name].LocalHost; !got.Equal(want) {
			t.Errorf("local_host of %s is %s, want %s", name, got, want)
		}
	}
	if m.Labels.IsNull() || !m.AgentURL.IsNull() || !m.GamePort.IsNull() {
		t.Errorf("labels %s, agent_url %s, game_port %s", m.Labels, m.AgentURL, m.GamePort)
	}
	if got := m.Endpoints.Elements()["a"]; !got.Equal(types.StringValue("[2001:db8::1]:2")) {
		t.Errorf("endpoint is %s", got)
	}
	unset := blank()
	if diags := unset.take(t.Context(), inst); diags.HasError() || !unset.Labels.IsNull() {
		t.Errorf("labels that were never set are %s, diagnostics %v", unset.Labels, diags)
	}
}

func TestWaits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		enabled bool
		wait    types.Bool
		agent   string
		want    bool
	}{
		{true, types.BoolNull(), "http://a", true},
		{true, types.BoolNull(), "", false},
		{true, types.BoolValue(true), "", true},
		{true, types.BoolValue(false), "http://a", false},
		{false, types.BoolValue(true), "http://a", false},
	} {
		m := instanceModel{Enabled: types.BoolValue(tt.enabled), WaitForConnection: tt.wait, AgentURL: orNull(tt.agent)}
		if got := m.waits(); got != tt.want {
			t.Errorf("%+v: waits is %t", tt, got)
		}
	}
}

// TestKeepPublicPorts: only the manager's own choice is kept, not a port that the configuration takes from elsewhere.
func TestKeepPublicPorts(t *testing.T) {
	t.Parallel()
	services := func(public types.Int64) instanceModel {
		m := blank()
		m.Services = types.MapValueMust(serviceType(), map[string]attr.Value{
			"a": serviceObject(types.Int64Value(1), public, types.StringNull(), "udp"),
		})
		return m
	}
	prior := services(types.Int64Value(7))
	for name, tt := range map[string]struct{ written, want types.Int64 }{
		"left out": {types.Int64Null(), types.Int64Value(7)},
		"unknown":  {types.Int64Unknown(), types.Int64Unknown()},
	} {
		plan := services(types.Int64Unknown())
		if diags := keepPublicPorts(t.Context(), services(tt.written), prior, &plan); diags.HasError() {
			t.Fatal(diags)
		}
		if got, _, _ := plan.services(t.Context()); !got["a"].PublicPort.Equal(tt.want) {
			t.Errorf("%s: planned %s, want %s", name, got["a"].PublicPort, tt.want)
		}
	}
}

func TestLaunchArguments(t *testing.T) {
	t.Parallel()
	tcp, both := []api.Protocol{api.TCP}, []api.Protocol{api.TCP, api.UDP}
	game := func(public int, kind api.ProbeKind) api.Service {
		return api.Service{Protocols: both, LocalPort: 7777, PublicPort: public, Probe: kind}
	}
	messaging := func(public int) api.Service {
		return api.Service{Protocols: tcp, LocalPort: 8888, PublicPort: public}
	}
	for name, tt := range map[string]struct {
		services map[string]api.Service
		want     string
	}{
		"as it comes":   {map[string]api.Service{"game": game(7777, api.ProbeSatisfactory), "messaging": messaging(8888)}, ""},
		"moved":         {map[string]api.Service{"game": game(30000, api.ProbeSatisfactory), "messaging": messaging(30001)}, "-ExternalReliablePort=30001"},
		"another game":  {map[string]api.Service{"game": game(30000, ""), "messaging": messaging(30001)}, ""},
		"only the game": {map[string]api.Service{"game": game(30000, api.ProbeSatisfactory)}, ""},
	} {
		if got := strings.Join(launchArguments(api.Instance{Services: tt.services}), " "); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
