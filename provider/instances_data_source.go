package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// instancesDataSource implements the data source rathole_instances: the manager's instances, filtered.
type instancesDataSource struct{ *connections }

var _ datasource.DataSourceWithConfigure = (*instancesDataSource)(nil)

func newInstancesDataSource() datasource.DataSource { return &instancesDataSource{} }

type instancesDataModel struct {
	Prefix    types.String        `tfsdk:"prefix"`
	Status    types.String        `tfsdk:"status"`
	Labels    types.Map           `tfsdk:"labels"`
	Instances []instanceDataModel `tfsdk:"instances"`
}

// Metadata implements datasource.DataSource.
func (d *instancesDataSource) Metadata(_ context.Context, req datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_instances"
}

// Configure implements datasource.DataSourceWithConfigure.
func (d *instancesDataSource) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	d.connections = configured(req.ProviderData, &resp.Diagnostics)
}

// Schema implements datasource.DataSource.
func (d *instancesDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "The instances of the manager, also those that Terraform did not make, ordered by `server_id`. Filters that are left out let all through.",
		Attributes: map[string]schema.Attribute{
			"prefix": schema.StringAttribute{Optional: true, MarkdownDescription: "Only instances whose `server_id` begins so."},
			"status": schema.StringAttribute{
				Optional: true, MarkdownDescription: statusFilter, Validators: []validator.String{stringvalidator.OneOf(statuses()...)},
			},
			"labels": schema.MapAttribute{
				Optional: true, ElementType: types.StringType, MarkdownDescription: "Only instances that have all of these labels, with these values.",
			},
			"instances": schema.ListNestedAttribute{
				Computed: true, MarkdownDescription: "What was found.",
				NestedObject: schema.NestedAttributeObject{Attributes: instanceAttributes()},
			},
		},
	}
}

// Read implements datasource.DataSource.
func (d *instancesDataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var data instancesDataModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &data)...)
	labels := map[string]string{}
	resp.Diagnostics.Append(data.Labels.ElementsAs(ctx, &labels, false)...)
	if resp.Diagnostics.HasError() {
		return
	}
	mgr, err := d.manager()
	if err != nil {
		fail(&resp.Diagnostics, "Unable to list instances", err)
		return
	}
	found, err := mgr.List(ctx, data.Prefix.ValueString(), api.Status(data.Status.ValueString()))
	if err != nil {
		fail(&resp.Diagnostics, "Unable to list instances", err)
		return
	}
	data.Instances = []instanceDataModel{}
	for _, inst := range found {
		if !hasLabels(inst, labels) {
			continue
		}
		var one instanceDataModel
		resp.Diagnostics.Append(one.take(inst)...)
		data.Instances = append(data.Instances, one)
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &data)...)
}

const statusFilter = "Only instances of this status: `inactive`, `healthy`, `degraded`, `down` or `disabled`."

// statuses are what statusFilter names.
func statuses() []string {
	return []string{string(api.StatusInactive), string(api.StatusHealthy), string(api.StatusDegraded), string(api.StatusDown), string(api.StatusDisabled)}
}

// hasLabels tells whether an instance has all of the labels.
func hasLabels(inst api.Instance, labels map[string]string) bool {
	for key, want := range labels {
		if value, has := inst.Labels[key]; !has || value != want {
			return false
		}
	}
	return true
}
