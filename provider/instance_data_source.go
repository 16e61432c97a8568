package provider

import (
	"context"
	"regexp"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// instanceDataSource implements the data source rathole_instance: the manager's view, conditions included.
type instanceDataSource struct{ *connections }

var _ datasource.DataSourceWithConfigure = (*instanceDataSource)(nil)

func newInstanceDataSource() datasource.DataSource { return &instanceDataSource{} }

type instanceDataModel struct {
	ID                 types.String     `tfsdk:"id"`
	ServerID           types.String     `tfsdk:"server_id"`
	GamePort           types.Int64      `tfsdk:"game_port"`
	BeaconPort         types.Int64      `tfsdk:"beacon_port"`
	Probe              types.String     `tfsdk:"probe"`
	Services           types.Map        `tfsdk:"services"`
	HostIP             types.String     `tfsdk:"host_ip"`
	AgentURL           types.String     `tfsdk:"agent_url"`
	Labels             types.Map        `tfsdk:"labels"`
	Transport          types.String     `tfsdk:"transport"`
	Enabled            types.Bool       `tfsdk:"enabled"`
	RatholePort        types.Int64      `tfsdk:"rathole_port"`
	Endpoints          types.Map        `tfsdk:"endpoints"`
	Status             types.String     `tfsdk:"status"`
	Conditions         []conditionModel `tfsdk:"conditions"`
	ClientConfigSHA256 types.String     `tfsdk:"client_config_sha256"`
	Revision           types.Int64      `tfsdk:"revision"`
}

type conditionModel struct {
	Type    types.String `tfsdk:"type"`
	Status  types.String `tfsdk:"status"`
	Reason  types.String `tfsdk:"reason"`
	Message types.String `tfsdk:"message"`
}

// Metadata implements datasource.DataSource.
func (d *instanceDataSource) Metadata(_ context.Context, req datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_instance"
}

// Configure implements datasource.DataSourceWithConfigure.
func (d *instanceDataSource) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	d.connections = configured(req.ProviderData, &resp.Diagnostics)
}

// Schema implements datasource.DataSource.
func (d *instanceDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	attributes := instanceAttributes()
	attributes["server_id"] = schema.StringAttribute{
		Required: true, MarkdownDescription: "Name of the instance.",
		Validators: []validator.String{stringvalidator.RegexMatches(regexp.MustCompile(rathole.ServerIDPattern),
			"must be a letter or digit followed by up to 63 letters, digits, - or _")},
	}
	resp.Schema = schema.Schema{
		MarkdownDescription: "An instance as its manager sees it, with the conditions behind its status.",
		Attributes:          attributes,
	}
}

// instanceAttributes describe an instance of which all is computed.
func instanceAttributes() map[string]schema.Attribute {
	text := func(s string) schema.StringAttribute {
		return schema.StringAttribute{Computed: true, MarkdownDescription: s}
	}
	number := func(s string) schema.Int64Attribute {
		return schema.Int64Attribute{Computed: true, MarkdownDescription: s}
	}
	texts := func(s string) schema.MapAttribute {
		return schema.MapAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: s}
	}
	return map[string]schema.Attribute{
		"server_id":   text("Name of the instance."),
		"id":          text("The same as `server_id`."),
		"game_port":   number("Port of the service `game`; null if the instance was created with `services`."),
		"beacon_port": number("Port of the service `beacon`; null if there is none."),
		"probe":       text("How the service `game` is asked whether players reach it; null if nothing was chosen, or by `services`."),
		"services": schema.MapNestedAttribute{
			Computed: true, MarkdownDescription: "All services by name, also those of `game_port` and `beacon_port`.",
			NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
				"protocols":   schema.SetAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "`tcp`, `udp` or both."},
				"local_port":  number("Port of the game on the agent's side."),
				"public_port": number("Port for players on the manager's machine."),
				"local_host":  text("Address of the game as the agent's machine sees it."),
				"probe":       text("How the game is asked whether players reach it; null if nothing was chosen."),
			}},
		},
		"host_ip":              text("Address of the game as the agent's machine sees it."),
		"agent_url":            text("Where the agent answers that runs the client; null for a server half only."),
		"labels":               texts("Free text by key."),
		"transport":            text("`tcp` or `noise`."),
		"enabled":              schema.BoolAttribute{Computed: true, MarkdownDescription: "`false`: ports and secrets are kept, nothing runs."},
		"rathole_port":         number("Control port: where the instance's rathole server accepts its client."),
		"endpoints":            texts("What players dial, `host:port`, by service."),
		"status":               text("`inactive`, `healthy`, `degraded`, `down` or `disabled`."),
		"client_config_sha256": text("SHA-256 of the config that the manager gives for the client."),
		"revision":             number("Rises with the specification or the secrets, never with the status."),
		"conditions": schema.ListNestedAttribute{
			Computed: true, MarkdownDescription: "The facts behind the status.",
			NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
				"type":    text("What the condition is about: `ProcessRunning`, `ClientConnected`, `PortsListening` or `GameReachable` (as of the last probe; no part of the status)."),
				"status":  text("`True`, `False` or `Unknown`."),
				"reason":  text("One word for programs."),
				"message": text("A sentence for people: what is wrong and what can be done."),
			}},
		},
	}
}

// Read implements datasource.DataSource.
func (d *instanceDataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var data instanceDataModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &data)...)
	if resp.Diagnostics.HasError() {
		return
	}
	mgr, err := d.manager()
	if err != nil {
		fail(&resp.Diagnostics, "Unable to read instance", err)
		return
	}
	inst, err := mgr.Get(ctx, data.ServerID.ValueString())
	if err != nil {
		fail(&resp.Diagnostics, "Unable to read instance", err)
		return
	}
	resp.Diagnostics.Append(data.take(inst)...)
	resp.Diagnostics.Append(resp.State.Set(ctx, &data)...)
}

func (m *instanceDataModel) take(inst api.Instance) diag.Diagnostics {
	services, diags := serviceMap(inst, writtenOut(inst))
	*m = instanceDataModel{
		ID: types.StringValue(inst.ServerID), ServerID: types.StringValue(inst.ServerID),
		GamePort: portOrNull(inst.GamePort), BeaconPort: portOrNull(inst.BeaconPort), Probe: orNull(string(inst.Probe)), Services: services,
		HostIP: types.StringValue(inst.HostIP), AgentURL: orNull(inst.AgentURL), Labels: stringMap(inst.Labels),
		Transport: types.StringValue(string(inst.Transport)), Enabled: types.BoolValue(inst.Enabled),
		RatholePort: types.Int64Value(int64(inst.RatholePort)), Endpoints: endpoints(inst),
		Status: types.StringValue(string(inst.Status)), ClientConfigSHA256: types.StringValue(inst.ClientConfigSHA256),
		Revision: types.Int64Value(inst.Revision), Conditions: []conditionModel{},
	}
	for _, c := range inst.Conditions {
		m.Conditions = append(m.Conditions, conditionModel{
			Type: types.StringValue(c.Type), Status: types.StringValue(string(c.Status)),
			Reason: types.StringValue(c.Reason), Message: types.StringValue(c.Message),
		})
	}
	return diags
}

// writtenOut has serviceMap show every address, also those that are the instance's own.
func writtenOut(inst api.Instance) map[string]serviceModel {
	all := map[string]serviceModel{}
	for name, s := range inst.Services {
		all[name] = serviceModel{LocalHost: types.StringValue(s.LocalHost)}
	}
	return all
}
