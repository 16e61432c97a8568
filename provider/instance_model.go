package provider

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// instanceModel is a rathole_instance as Terraform has it.
type instanceModel struct {
	ID         types.String `tfsdk:"id"`
	ServerID   types.String `tfsdk:"server_id"`
	GamePort   types.Int64  `tfsdk:"game_port"`
	BeaconPort types.Int64  `tfsdk:"beacon_port"`
	Probe      types.String `tfsdk:"probe"`
	Services   types.Map    `tfsdk:"services"`
	HostIP     types.String `tfsdk:"host_ip"`
	AgentURL   types.String `tfsdk:"agent_url"`
	Labels     types.Map    `tfsdk:"labels"`
	Transport  types.String `tfsdk:"transport"`
	Enabled    types.Bool   `tfsdk:"enabled"`

	// What is Terraform's alone; neither service hears of it.
	WaitForConnection types.Bool     `tfsdk:"wait_for_connection"`
	ForceDestroy      types.Bool     `tfsdk:"force_destroy"`
	Timeouts          timeouts.Value `tfsdk:"timeouts"`

	// What the services decide or observe.
	RatholePort        types.Int64  `tfsdk:"rathole_port"`
	Endpoints          types.Map    `tfsdk:"endpoints"`
	LaunchArguments    types.List   `tfsdk:"launch_arguments"`
	Status             types.String `tfsdk:"status"`
	ClientConfigSHA256 types.String `tfsdk:"client_config_sha256"`
	Revision           types.Int64  `tfsdk:"revision"`
	Drift              types.List   `tfsdk:"drift"`
}

type serviceModel struct {
	Protocols  types.Set    `tfsdk:"protocols"`
	LocalPort  types.Int64  `tfsdk:"local_port"`
	PublicPort types.Int64  `tfsdk:"public_port"`
	LocalHost  types.String `tfsdk:"local_host"`
	Probe      types.String `tfsdk:"probe"`
}

func serviceType() types.ObjectType {
	return types.ObjectType{AttrTypes: map[string]attr.Type{
		"protocols": types.SetType{ElemType: types.StringType}, "local_port": types.Int64Type,
		"public_port": types.Int64Type, "local_host": types.StringType, "probe": types.StringType,
	}}
}

// clientURL is where the client shall run; empty if nowhere.
func (m instanceModel) clientURL() string {
	if !m.Enabled.ValueBool() {
		return ""
	}
	return m.AgentURL.ValueString()
}

// waits tells whether a change is done only when the tunnel is up.
func (m instanceModel) waits() bool {
	if !m.Enabled.ValueBool() {
		return false
	}
	if m.WaitForConnection.IsNull() {
		return m.AgentURL.ValueString() != ""
	}
	return m.WaitForConnection.ValueBool()
}

// samePorts tells whether two models forward the same ports.
func (m instanceModel) samePorts(o instanceModel) bool {
	return m.GamePort.Equal(o.GamePort) && m.BeaconPort.Equal(o.BeaconPort) && withoutProbes(m.Services).Equal(withoutProbes(o.Services))
}

// withoutProbes is services as far as the tunnel is concerned.
func withoutProbes(services types.Map) types.Map {
	if services.IsUnknown() || services.IsNull() {
		return services
	}
	bare := maps.Clone(services.Elements())
	for name, element := range bare {
		object, ok := element.(types.Object)
		if !ok || object.IsUnknown() || object.IsNull() {
			continue
		}
		fields := object.Attributes()
		fields["probe"] = types.StringNull()
		bare[name] = types.ObjectValueMust(serviceType().AttrTypes, fields)
	}
	return types.MapValueMust(serviceType(), bare)
}

// sameProbes tells whether two models that forward the same ports ask their games in the same way.
func (m instanceModel) sameProbes(o instanceModel) bool {
	return m.Probe.Equal(o.Probe) && m.Services.Equal(o.Services)
}

// sameTunnel tells whether two models ask the same of the client and its host.
func (m instanceModel) sameTunnel(o instanceModel) bool {
	return m.samePorts(o) && m.HostIP.Equal(o.HostIP) && m.AgentURL.Equal(o.AgentURL) &&
		m.Transport.Equal(o.Transport) && m.Enabled.Equal(o.Enabled)
}

// sameSpec tells whether two models ask the same of the services.
func (m instanceModel) sameSpec(o instanceModel) bool {
	return m.ServerID.Equal(o.ServerID) && m.sameTunnel(o) && m.sameProbes(o) && m.Labels.Equal(o.Labels)
}

// services decodes the services. known is false if the configuration does not tell them all yet; a public port may be
// unknown in any case, since the manager chooses it.
func (m instanceModel) services(ctx context.Context) (services map[string]serviceModel, known bool, diags diag.Diagnostics) {
	services, known = map[string]serviceModel{}, !m.Services.IsUnknown()
	for name, element := range m.Services.Elements() {
		object, ok := element.(types.Object)
		if !ok || object.IsUnknown() || object.IsNull() {
			known = false
			continue
		}
		var s serviceModel
		diags.Append(object.As(ctx, &s, basetypes.ObjectAsOptions{})...)
		services[name] = s
		if s.Protocols.IsUnknown() || s.LocalPort.IsUnknown() || slices.ContainsFunc(s.Protocols.Elements(), attr.Value.IsUnknown) {
			known = false
		}
	}
	return services, known, diags
}

// spec is what the model asks of the manager. What is not known is left out. complete is false if that makes it less than
// a specification.
func (m instanceModel) spec(ctx context.Context) (spec api.InstanceSpec, complete bool, diags diag.Diagnostics) {
	services, known, diags := m.services(ctx)
	complete = known && !m.ServerID.IsUnknown() && !m.GamePort.IsUnknown() && !m.BeaconPort.IsUnknown()
	enabled := m.Enabled.ValueBool() || m.Enabled.IsUnknown()
	spec = api.InstanceSpec{
		GamePort: int(m.GamePort.ValueInt64()), BeaconPort: int(m.BeaconPort.ValueInt64()),
		Probe:  api.ProbeKind(m.Probe.ValueString()),
		HostIP: m.HostIP.ValueString(), AgentURL: m.AgentURL.ValueString(),
		Transport: api.Transport(m.Transport.ValueString()), Enabled: &enabled,
	}
	for key, value := range m.Labels.Elements() {
		text, ok := value.(types.String)
		if !ok || text.IsUnknown() || text.IsNull() {
			continue
		}
		if spec.Labels == nil {
			spec.Labels = map[string]string{}
		}
		spec.Labels[key] = text.ValueString()
	}
	for name, s := range services {
		one := api.ServiceSpec{
			LocalPort: int(s.LocalPort.ValueInt64()), PublicPort: int(s.PublicPort.ValueInt64()), LocalHost: s.LocalHost.ValueString(),
			Probe: api.ProbeKind(s.Probe.ValueString()),
		}
		for _, p := range s.Protocols.Elements() {
			if text, ok := p.(types.String); ok {
				one.Protocols = append(one.Protocols, api.Protocol(text.ValueString()))
			}
		}
		slices.Sort(one.Protocols)
		if spec.Services == nil {
			spec.Services = map[string]api.ServiceSpec{}
		}
		spec.Services[name] = one
	}
	return spec, complete, diags
}

// take fills in what the manager says. Values that mean the same as before stay written as they were: a plan must not
// differ by an empty map, or by a default that somebody wrote out.
func (m *instanceModel) take(ctx context.Context, inst api.Instance) diag.Diagnostics {
	before, _, diags := m.services(ctx)
	m.ID, m.ServerID = types.StringValue(inst.ServerID), types.StringValue(inst.ServerID)
	m.HostIP, m.AgentURL = types.StringValue(inst.HostIP), orNull(inst.AgentURL)
	m.Transport, m.Enabled = types.StringValue(string(inst.Transport)), types.BoolValue(inst.Enabled)
	m.RatholePort, m.Revision = types.Int64Value(int64(inst.RatholePort)), types.Int64Value(inst.Revision)
	m.Status = types.StringValue(string(inst.Status))
	m.GamePort, m.BeaconPort, m.Probe = portOrNull(inst.GamePort), portOrNull(inst.BeaconPort), orNull(string(inst.Probe))
	if len(inst.Labels) > 0 || len(m.Labels.Elements()) > 0 || m.Labels.IsUnknown() {
		m.Labels = stringMap(inst.Labels)
	}
	m.Services = types.MapNull(serviceType())
	if inst.GamePort == 0 {
		services, more := serviceMap(inst, before)
		diags.Append(more...)
		m.Services = services
	}
	m.Endpoints, m.LaunchArguments = endpoints(inst), stringList(launchArguments(inst))
	return diags
}

// forgetUnknown makes null what only the manager could have told.
func (m *instanceModel) forgetUnknown() (diags diag.Diagnostics) {
	m.ID, m.RatholePort, m.Revision = m.ServerID, types.Int64Null(), types.Int64Null()
	m.Status, m.ClientConfigSHA256 = types.StringNull(), types.StringNull()
	m.Endpoints, m.LaunchArguments = types.MapNull(types.StringType), types.ListNull(types.StringType)
	m.Drift = stringList([]string{serverHalf + "the manager did not answer whether it made the instance"})
	if m.Services.IsNull() {
		return nil
	}
	services := maps.Clone(m.Services.Elements())
	for name, element := range services {
		object, ok := element.(types.Object)
		if !ok || !object.Attributes()["public_port"].IsUnknown() {
			continue
		}
		fields := object.Attributes()
		fields["public_port"] = types.Int64Null()
		services[name], _ = types.ObjectValue(serviceType().AttrTypes, fields)
	}
	m.Services, diags = types.MapValue(serviceType(), services)
	return diags
}

// serviceMap shows services as they are written: an address that is the instance's own is left out unless it was written
// out before.
func serviceMap(inst api.Instance, before map[string]serviceModel) (types.Map, diag.Diagnostics) {
	var diags diag.Diagnostics
	services := map[string]attr.Value{}
	for name, s := range inst.Services {
		localHost := orNull(s.LocalHost)
		if s.LocalHost == inst.HostIP && before[name].LocalHost.IsNull() {
			localHost = types.StringNull()
		}
		protocols := make([]attr.Value, 0, len(s.Protocols))
		for _, p := range s.Protocols {
			protocols = append(protocols, types.StringValue(string(p)))
		}
		set, more := types.SetValue(types.StringType, protocols)
		diags.Append(more...)
		object, more := types.ObjectValue(serviceType().AttrTypes, map[string]attr.Value{
			"protocols": set, "local_port": types.Int64Value(int64(s.LocalPort)),
			"public_port": types.Int64Value(int64(s.PublicPort)), "local_host": localHost, "probe": orNull(string(s.Probe)),
		})
		diags.Append(more...)
		services[name] = object
	}
	m, more := types.MapValue(serviceType(), services)
	diags.Append(more...)
	return m, diags
}

func endpoints(inst api.Instance) types.Map {
	all := map[string]string{}
	for name, s := range inst.Services {
		all[name] = net.JoinHostPort(inst.PublicHost, strconv.Itoa(s.PublicPort))
	}
	return stringMap(all)
}

// launchArguments are what the game must be told where its public port is not its own. Only Satisfactory needs it: it tells
// its players the port of its reliable messaging, the one that carries TCP alone, and tells them its own unless told.
func launchArguments(inst api.Instance) []string {
	satisfactory := inst.Probe == api.ProbeSatisfactory
	for _, s := range inst.Services {
		satisfactory = satisfactory || s.Probe == api.ProbeSatisfactory
	}
	var args []string
	for _, name := range slices.Sorted(maps.Keys(inst.Services)) {
		s := inst.Services[name]
		if satisfactory && slices.Equal(s.Protocols, []api.Protocol{api.TCP}) && s.PublicPort != s.LocalPort {
			args = append(args, fmt.Sprintf("-ExternalReliablePort=%d", s.PublicPort))
		}
	}
	return args
}

func stringMap(m map[string]string) types.Map {
	values := make(map[string]attr.Value, len(m))
	for key, value := range m {
		values[key] = types.StringValue(value)
	}
	return types.MapValueMust(types.StringType, values)
}

func stringList(list []string) types.List {
	values := make([]attr.Value, 0, len(list))
	for _, s := range list {
		values = append(values, types.StringValue(s))
	}
	return types.ListValueMust(types.StringType, values)
}

func orNull(s string) types.String {
	if s == "" {
		return types.StringNull()
	}
	return types.StringValue(s)
}

func portOrNull(port int) types.Int64 {
	if port == 0 {
		return types.Int64Null()
	}
	return types.Int64Value(int64(port))
}
