package provider

import (
	"context"
	"regexp"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// clientConfigEphemeral implements the ephemeral resource rathole_client_config: the one way to the secrets of a tunnel,
// for clients that no agent runs. It is ephemeral so that they reach neither the state nor a plan file.
type clientConfigEphemeral struct{ *connections }

var _ ephemeral.EphemeralResourceWithConfigure = (*clientConfigEphemeral)(nil)

func newClientConfigEphemeral() ephemeral.EphemeralResource { return &clientConfigEphemeral{} }

type clientConfigModel struct {
	ServerID types.String `tfsdk:"server_id"`
	HostIP   types.String `tfsdk:"host_ip"`
	Revision types.Int64  `tfsdk:"revision"`
	Config   types.String `tfsdk:"config"`
	SHA256   types.String `tfsdk:"sha256"`
}

// Metadata implements ephemeral.EphemeralResource.
func (e *clientConfigEphemeral) Metadata(_ context.Context, req ephemeral.MetadataRequest, resp *ephemeral.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_client_config"
}

// Configure implements ephemeral.EphemeralResourceWithConfigure.
func (e *clientConfigEphemeral) Configure(_ context.Context, req ephemeral.ConfigureRequest, resp *ephemeral.ConfigureResponse) {
	e.connections = configured(req.ProviderData, &resp.Diagnostics)
}

// Schema implements ephemeral.EphemeralResource.
func (e *clientConfigEphemeral) Schema(_ context.Context, _ ephemeral.SchemaRequest, resp *ephemeral.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "The config of an instance's rathole client, secrets included, for a client that no agent runs: a container, a cloud-init file, " +
			"a secret store. It is read anew in each run and kept in neither state nor plan. Needs Terraform 1.10 or later.",
		Attributes: map[string]schema.Attribute{
			"server_id": schema.StringAttribute{
				Required: true, MarkdownDescription: "Name of the instance.",
				Validators: []validator.String{stringvalidator.RegexMatches(regexp.MustCompile(rathole.ServerIDPattern),
					"must be a letter or digit followed by up to 63 letters, digits, - or _")},
			},
			"host_ip": schema.StringAttribute{
				Optional: true, MarkdownDescription: "Address of the game in this config, in place of the instance's `host_ip`.", Validators: []validator.String{host{}},
			},
			"revision": schema.Int64Attribute{
				Optional: true, MarkdownDescription: "Set it to the `revision` of the instance's resource where the same configuration makes the instance. It is known only once " +
					"the instance is made or changed, so the config is read after that and not while planning. It has no other effect.",
			},
			"config": schema.StringAttribute{Computed: true, Sensitive: true, MarkdownDescription: "The client's TOML."},
			"sha256": schema.StringAttribute{Computed: true, MarkdownDescription: "SHA-256 of `config`, in hex."},
		},
	}
}

// Open implements ephemeral.EphemeralResource.
func (e *clientConfigEphemeral) Open(ctx context.Context, req ephemeral.OpenRequest, resp *ephemeral.OpenResponse) {
	var data clientConfigModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &data)...)
	if resp.Diagnostics.HasError() {
		return
	}
	mgr, err := e.manager()
	if err != nil {
		fail(&resp.Diagnostics, "Unable to read client config", err)
		return
	}
	cfg, err := mgr.ClientConfig(ctx, data.ServerID.ValueString(), data.HostIP.ValueString())
	if err != nil {
		fail(&resp.Diagnostics, "Unable to read client config", err)
		return
	}
	data.Config, data.SHA256 = types.StringValue(cfg.Config), types.StringValue(cfg.SHA256)
	resp.Diagnostics.Append(resp.Result.Set(ctx, &data)...)
}
