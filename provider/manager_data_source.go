package provider

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// managerDataSource implements the data source rathole_manager: what the manager is, and what room it has.
type managerDataSource struct{ *connections }

var _ datasource.DataSourceWithConfigure = (*managerDataSource)(nil)

func newManagerDataSource() datasource.DataSource { return &managerDataSource{} }

type managerDataModel struct {
	Version       types.String   `tfsdk:"version"`
	APILevel      types.Int64    `tfsdk:"api_level"`
	Features      types.List     `tfsdk:"features"`
	EngineVersion types.String   `tfsdk:"engine_version"`
	ControlPorts  *portPoolModel `tfsdk:"control_ports"`
	PublicPorts   *portPoolModel `tfsdk:"public_ports"`
}

type portPoolModel struct {
	Ranges    []portRangeModel `tfsdk:"ranges"`
	Total     types.Int64      `tfsdk:"total"`
	Allocated types.Int64      `tfsdk:"allocated"`
	Free      types.Int64      `tfsdk:"free"`
	Uses      types.Map        `tfsdk:"uses"`
}

type portRangeModel struct {
	First types.Int64 `tfsdk:"first"`
	Last  types.Int64 `tfsdk:"last"`
}

// Metadata implements datasource.DataSource.
func (d *managerDataSource) Metadata(_ context.Context, req datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_manager"
}

// Configure implements datasource.DataSourceWithConfigure.
func (d *managerDataSource) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	d.connections = configured(req.ProviderData, &resp.Diagnostics)
}

// Schema implements datasource.DataSource.
func (d *managerDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	number := func(s string) schema.Int64Attribute {
		return schema.Int64Attribute{Computed: true, MarkdownDescription: s}
	}
	pool := func(s string) schema.SingleNestedAttribute {
		return schema.SingleNestedAttribute{Computed: true, MarkdownDescription: s, Attributes: map[string]schema.Attribute{
			"ranges": schema.ListNestedAttribute{
				Computed: true, MarkdownDescription: "Where these ports may lie.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"first": number("The first port of the range."), "last": number("The last port of the range."),
				}},
			},
			"total":     number("How many ports there are."),
			"allocated": number("How many ports belong to an instance."),
			"free":      number("How many ports do not."),
			"uses": schema.MapAttribute{
				Computed: true, ElementType: types.StringType, MarkdownDescription: "The owner's `server_id`, by `port/protocol`, such as `30000/udp`.",
			},
		}}
	}
	resp.Schema = schema.Schema{
		MarkdownDescription: "The manager that the provider is configured for: its version, and how many ports it has left.",
		Attributes: map[string]schema.Attribute{
			"version":        schema.StringAttribute{Computed: true, MarkdownDescription: "Version of rathole-manager."},
			"api_level":      number("Version of its HTTP API."),
			"features":       schema.ListAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "What it can do beyond that, sorted."},
			"engine_version": schema.StringAttribute{Computed: true, MarkdownDescription: "Version of the rathole that it runs; null if it has found none."},
			"control_ports":  pool("The ports on which instances accept their clients."),
			"public_ports":   pool("The ports for players."),
		},
	}
}

// Read implements datasource.DataSource.
func (d *managerDataSource) Read(ctx context.Context, _ datasource.ReadRequest, resp *datasource.ReadResponse) {
	mgr, err := d.manager()
	if err != nil {
		fail(&resp.Diagnostics, "Unable to read manager", err)
		return
	}
	health, err := mgr.Health(ctx)
	if err != nil {
		fail(&resp.Diagnostics, "Unable to read manager", err)
		return
	}
	ports, err := mgr.Ports(ctx)
	if err != nil {
		fail(&resp.Diagnostics, "Unable to read the manager's ports", err)
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &managerDataModel{
		Version: types.StringValue(health.Version), APILevel: types.Int64Value(int64(health.APILevel)),
		Features: stringList(health.Features), EngineVersion: orNull(health.Engine),
		ControlPorts: poolModel(ports.Control), PublicPorts: poolModel(ports.Public),
	})...)
}

func poolModel(p api.PortPool) *portPoolModel {
	m := portPoolModel{
		Ranges: []portRangeModel{}, Total: types.Int64Value(int64(p.Total)),
		Allocated: types.Int64Value(int64(p.Allocated)), Free: types.Int64Value(int64(p.Free)),
	}
	for _, r := range p.Ranges {
		m.Ranges = append(m.Ranges, portRangeModel{First: types.Int64Value(int64(r.Start)), Last: types.Int64Value(int64(r.End))})
	}
	uses := map[string]attr.Value{}
	for _, u := range p.Uses {
		for _, protocol := range u.Protocols {
			uses[fmt.Sprintf("%d/%s", u.Port, protocol)] = types.StringValue(u.ServerID)
		}
	}
	m.Uses = types.MapValueMust(types.StringType, uses)
	return &m
}
