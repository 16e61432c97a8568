package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/list"
	"github.com/hashicorp/terraform-plugin-framework/list/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// instanceListResource implements the list resource rathole_instance: what `terraform query` finds on the manager, so that it
// can be imported. Name, identity and connections are the managed resource's.
type instanceListResource struct{ instanceResource }

var _ list.ListResourceWithConfigure = (*instanceListResource)(nil)

func newInstanceListResource() list.ListResource { return &instanceListResource{} }

type instanceListModel struct {
	Prefix types.String `tfsdk:"prefix"`
	Status types.String `tfsdk:"status"`
	Labels types.Map    `tfsdk:"labels"`
}

// ListResourceConfigSchema implements list.ListResource.
func (l *instanceListResource) ListResourceConfigSchema(_ context.Context, _ list.ListResourceSchemaRequest, resp *list.ListResourceSchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Finds the instances of the manager, also those that Terraform did not make, ordered by `server_id`. Needs Terraform 1.14 or later.",
		Attributes: map[string]schema.Attribute{
			"prefix": schema.StringAttribute{Optional: true, MarkdownDescription: "Only instances whose `server_id` begins so."},
			"status": schema.StringAttribute{
				Optional: true, MarkdownDescription: statusFilter, Validators: []validator.String{stringvalidator.OneOf(statuses()...)},
			},
			"labels": schema.MapAttribute{
				Optional: true, ElementType: types.StringType, MarkdownDescription: "Only instances that have all of these labels, with these values.",
			},
		},
	}
}

// List implements list.ListResource.
func (l *instanceListResource) List(ctx context.Context, req list.ListRequest, stream *list.ListResultsStream) {
	var cfg instanceListModel
	diags := req.Config.Get(ctx, &cfg)
	labels := map[string]string{}
	diags.Append(cfg.Labels.ElementsAs(ctx, &labels, false)...)
	found := l.find(ctx, cfg, &diags)
	if diags.HasError() {
		stream.Results = list.ListResultsStreamDiagnostics(diags)
		return
	}
	stream.Results = func(push func(list.ListResult) bool) {
		n := int64(0)
		for _, inst := range found {
			if !hasLabels(inst, labels) {
				continue
			}
			if n++; req.Limit > 0 && n > req.Limit {
				return
			}
			if !push(l.result(ctx, req, inst)) {
				return
			}
		}
	}
}

func (l *instanceListResource) find(ctx context.Context, cfg instanceListModel, diags *diag.Diagnostics) []api.Instance {
	if diags.HasError() {
		return nil
	}
	mgr, err := l.manager()
	if err != nil {
		fail(diags, "Unable to list instances", err)
		return nil
	}
	found, err := mgr.List(ctx, cfg.Prefix.ValueString(), api.Status(cfg.Status.ValueString()))
	if err != nil {
		fail(diags, "Unable to list instances", err)
	}
	return found
}

func (l *instanceListResource) result(ctx context.Context, req list.ListRequest, inst api.Instance) list.ListResult {
	r := req.NewListResult(ctx)
	r.DisplayName = inst.ServerID
	r.Diagnostics.Append(identify(ctx, r.Identity, types.StringValue(inst.ServerID))...)
	if !req.IncludeResource {
		return r
	}
	// What is Terraform's alone nobody has set; drift and the client's hash nobody knows, for no agent was asked.
	duration := map[string]attr.Type{"create": types.StringType, "update": types.StringType, "delete": types.StringType}
	m := instanceModel{
		Labels: types.MapNull(types.StringType), Drift: types.ListNull(types.StringType),
		Timeouts: timeouts.Value{Object: types.ObjectNull(duration)},
	}
	r.Diagnostics.Append(m.take(ctx, inst)...)
	r.Diagnostics.Append(r.Resource.Set(ctx, &m)...)
	return r
}
