package provider

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/mapvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/resourcevalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/identityschema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// Default timeouts. Five minutes let a host that was made in the same apply boot (1-2 min), install its agent and connect;
// a destroy waits for nothing new.
const (
	defaultCreateTimeout = 5 * time.Minute
	defaultUpdateTimeout = 5 * time.Minute
	defaultDeleteTimeout = 2 * time.Minute
)

// The manager's own defaults. They stand in the schema as well, so that taking an attribute out of the configuration puts
// the default back.
const (
	defaultHostIP = "127.0.0.1"
	maxLabels     = 64
)

// instanceResource implements rathole_instance.
type instanceResource struct{ *connections }

var (
	_ resource.ResourceWithConfigure        = (*instanceResource)(nil)
	_ resource.ResourceWithConfigValidators = (*instanceResource)(nil)
	_ resource.ResourceWithIdentity         = (*instanceResource)(nil)
	_ resource.ResourceWithImportState      = (*instanceResource)(nil)
	_ resource.ResourceWithModifyPlan       = (*instanceResource)(nil)
	_ resource.ResourceWithValidateConfig   = (*instanceResource)(nil)
)

func newInstanceResource() resource.Resource { return &instanceResource{} }

// Metadata implements resource.Resource.
func (r *instanceResource) Metadata(_ context.Context, req resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_instance"
}

// Configure implements resource.ResourceWithConfigure.
func (r *instanceResource) Configure(_ context.Context, req resource.ConfigureRequest, resp *resource.ConfigureResponse) {
	r.connections = configured(req.ProviderData, &resp.Diagnostics)
}

// configured takes what the provider's Configure made; nil while Terraform only validates.
func configured(data any, diags *diag.Diagnostics) *connections {
	if data == nil {
		return nil
	}
	c, ok := data.(*connections)
	if !ok {
		diags.AddError("Unable to configure", fmt.Sprintf("The provider passed %T instead of its connections. This is a bug in the provider.", data))
	}
	return c
}

// Schema implements resource.Resource.
func (r *instanceResource) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	port := func(text string) schema.Int64Attribute {
		return schema.Int64Attribute{MarkdownDescription: text, Optional: true, Validators: []validator.Int64{int64validator.Between(1, 65535)}}
	}
	beacon := port("Port of the service `beacon`, TCP and UDP, the same number on both sides.")
	beacon.Validators = append(beacon.Validators, int64validator.AlsoRequires(path.MatchRoot("game_port")))
	resp.Schema = schema.Schema{
		MarkdownDescription: "One isolated tunnel: its own rathole server on the manager's machine and, if `agent_url` is set, its own " +
			"rathole client on a host. Adding, changing, breaking or removing one never touches another.",
		Attributes: map[string]schema.Attribute{
			"server_id": schema.StringAttribute{
				MarkdownDescription: "Name of the instance: a letter or digit, then up to 63 letters, digits, `-` or `_`. Another name is another instance.",
				Required:            true,
				PlanModifiers:       []planmodifier.String{stringplanmodifier.RequiresReplace()},
				Validators: []validator.String{stringvalidator.RegexMatches(regexp.MustCompile(rathole.ServerIDPattern),
					"must be a letter or digit followed by up to 63 letters, digits, - or _")},
			},
			"game_port":   port("Port of the service `game`, TCP and UDP, the same number on both sides, outside the manager's control ports. Either this or `services`."),
			"beacon_port": beacon,
			"probe": schema.StringAttribute{
				MarkdownDescription: "How the service `game` is asked whether players reach it: `tcp`, `satisfactory`, `a2s`, `minecraft` or `bedrock`; see `services`. " +
					"Goes with `game_port`. A change touches no tunnel.",
				Optional: true, Validators: []validator.String{probeKind(), stringvalidator.AlsoRequires(path.MatchRoot("game_port"))},
			},
			"services": schema.MapNestedAttribute{
				MarkdownDescription: "Services by name, instead of `game_port` and `beacon_port`. A name is a small letter, then up to 31 small letters, digits or `-`.",
				Optional:            true,
				NestedObject:        serviceSchema(),
				Validators: []validator.Map{
					mapvalidator.SizeBetween(1, 64),
					mapvalidator.NoNullValues(),
					mapvalidator.KeysAre(stringvalidator.RegexMatches(regexp.MustCompile(rathole.ServicePattern),
						"must be a small letter followed by up to 31 small letters, digits or -")),
				},
			},
			"host_ip": schema.StringAttribute{
				MarkdownDescription: "Address of the game as the agent's machine sees it: an IP address or a host name. Default `" + defaultHostIP + "`.",
				Optional:            true, Computed: true, Default: stringdefault.StaticString(defaultHostIP),
				Validators: []validator.String{host{}},
			},
			"agent_url": schema.StringAttribute{
				MarkdownDescription: "Where the agent answers that runs the client, such as `http://10.0.0.5:8081`. Left out: the server half only.",
				Optional:            true, Validators: []validator.String{serviceURL{}},
			},
			"labels": schema.MapAttribute{
				MarkdownDescription: "Free text by key, for people and filters.",
				Optional:            true, ElementType: types.StringType,
				Validators: []validator.Map{
					mapvalidator.SizeAtMost(maxLabels),
					mapvalidator.NoNullValues(), // the manager keeps none, and Terraform would miss it after the apply
					mapvalidator.KeysAre(stringvalidator.LengthBetween(1, 63)),
					mapvalidator.ValueStringsAre(stringvalidator.LengthAtMost(255)),
				},
			},
			"transport": schema.StringAttribute{
				MarkdownDescription: "How the halves talk to each other: `tcp` (default) or `noise`. Noise encrypts the game's traffic; it costs throughput " +
					"and memory, and lets one silent connection to the control port hold up new players for 5 s.",
				Optional: true, Computed: true, Default: stringdefault.StaticString(string(api.TransportTCP)),
				Validators: []validator.String{stringvalidator.OneOf(string(api.TransportTCP), string(api.TransportNoise))},
			},
			"enabled": schema.BoolAttribute{
				MarkdownDescription: "`false` keeps ports and secrets but runs nothing, on neither side. Default `true`.",
				Optional:            true, Computed: true, Default: booldefault.StaticBool(true),
			},
			"wait_for_connection": schema.BoolAttribute{
				MarkdownDescription: "Whether a create or update succeeds only once the tunnel is healthy. Left out: yes if `agent_url` is set.",
				Optional:            true,
			},
			"force_destroy": schema.BoolAttribute{
				MarkdownDescription: "Destroy the server half even if the agent cannot be reached. The client is then left behind on its host, without a server. " +
					"Set it and apply before you destroy, or set `force_destroy` in the provider block, which needs no apply. Left out: as the provider says.",
				Optional: true,
			},
			"timeouts":     timeoutsSchema(ctx),
			"id":           schema.StringAttribute{Computed: true, MarkdownDescription: "The same as `server_id`."},
			"rathole_port": schema.Int64Attribute{Computed: true, MarkdownDescription: "Control port: where the instance's rathole server accepts its client."},
			"endpoints":    schema.MapAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "What players dial, `host:port`, by service."},
			"launch_arguments": schema.ListAttribute{
				Computed: true, ElementType: types.StringType,
				MarkdownDescription: "What the game's server must be started with because a public port is not its own; empty if nothing. Known for Satisfactory " +
					"(a service with `probe = \"satisfactory\"`): `-ExternalReliablePort=`.",
			},
			"status": schema.StringAttribute{Computed: true, MarkdownDescription: statusText},
			"client_config_sha256": schema.StringAttribute{
				Computed: true, MarkdownDescription: "SHA-256 of the config that the agent runs; null if it runs none.",
			},
			"revision": schema.Int64Attribute{Computed: true, MarkdownDescription: "Rises with the specification or the secrets, never with the status."},
			"drift": schema.ListAttribute{
				Computed: true, ElementType: types.StringType,
				MarkdownDescription: "What the last refresh found out of step between configuration, manager and agent; empty if nothing. The next apply repairs it in place.",
			},
		},
	}
}

// timeoutsSchema is how long each operation may take. The framework's attribute has no description of its own.
func timeoutsSchema(ctx context.Context) schema.Attribute {
	a := timeouts.Attributes(ctx, timeouts.Opts{
		Create: true, Update: true, Delete: true,
		CreateDescription: "How long a create may take, all retries included, such as `90s`. Default `5m`.",
		UpdateDescription: "How long an update may take, all retries included. Default `5m`.",
		DeleteDescription: "How long a destroy may take, all retries included. Default `2m`.",
	}).(schema.SingleNestedAttribute)
	a.MarkdownDescription = "How long to try before an operation fails: a service that does not answer, and a tunnel that does not stand yet, are waited for. A change touches no tunnel."
	return a
}

const statusText = "As of the last refresh: `inactive` (the server never had a client), `healthy`, `degraded` (some port is missing), `down` or `disabled`."

func serviceSchema() schema.NestedAttributeObject {
	return schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
		"protocols": schema.SetAttribute{
			MarkdownDescription: "`tcp`, `udp` or both, on one port number.",
			Required:            true, ElementType: types.StringType,
			Validators: []validator.Set{
				setvalidator.SizeAtLeast(1), setvalidator.ValueStringsAre(stringvalidator.OneOf(string(api.TCP), string(api.UDP))),
			},
		},
		"local_port": schema.Int64Attribute{
			MarkdownDescription: "Port of the game on the agent's side.",
			Required:            true, Validators: []validator.Int64{int64validator.Between(1, 65535)},
		},
		"public_port": schema.Int64Attribute{
			MarkdownDescription: "Port for players on the manager's machine, outside its control ports (10000-20000 unless told otherwise). Left out: the manager chooses one, and keeps it.",
			Optional:            true, Computed: true, Validators: []validator.Int64{int64validator.Between(1, 65535)},
		},
		"local_host": schema.StringAttribute{
			MarkdownDescription: "Address of the game as the agent's machine sees it, where it differs from `host_ip`.",
			Optional:            true, Validators: []validator.String{host{}},
		},
		"probe": schema.StringAttribute{
			MarkdownDescription: "How the manager asks the game whether players reach it, when it is told to probe: `tcp` (a connection is accepted and not hung up; " +
				"the default for what carries TCP), `minecraft` (Java edition, over TCP), `satisfactory`, `a2s` (Source and Steam query) or `bedrock` (over UDP). " +
				"Left out for UDP alone: the game is not asked. A change touches no tunnel.",
			Optional: true, Validators: []validator.String{probeKind()},
		},
	}}
}

func probeKind() validator.String {
	return stringvalidator.OneOf(string(api.ProbeTCP), string(api.ProbeSatisfactory), string(api.ProbeA2S), string(api.ProbeMinecraft), string(api.ProbeBedrock))
}

// IdentitySchema implements resource.ResourceWithIdentity.
func (r *instanceResource) IdentitySchema(_ context.Context, _ resource.IdentitySchemaRequest, resp *resource.IdentitySchemaResponse) {
	resp.IdentitySchema = identityschema.Schema{Attributes: map[string]identityschema.Attribute{
		"server_id": identityschema.StringAttribute{RequiredForImport: true, Description: "Name of the instance."},
	}}
}

// identify sets the identity. Create, Read and Update must all do so: a Terraform before 1.12 keeps none, and the
// framework fails an update that answers none.
func identify(ctx context.Context, identity *tfsdk.ResourceIdentity, id types.String) diag.Diagnostics {
	if identity == nil {
		return nil
	}
	return identity.SetAttribute(ctx, path.Root("server_id"), id)
}

// ConfigValidators implements resource.ResourceWithConfigValidators.
func (r *instanceResource) ConfigValidators(context.Context) []resource.ConfigValidator {
	return []resource.ConfigValidator{resourcevalidator.ExactlyOneOf(path.MatchRoot("game_port"), path.MatchRoot("services"))}
}

// ValidateConfig implements resource.ResourceWithValidateConfig: no public port may be named twice for a protocol.
func (r *instanceResource) ValidateConfig(ctx context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	var cfg instanceModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &cfg)...)
	if resp.Diagnostics.HasError() {
		return
	}
	if cfg.BeaconPort.ValueInt64() != 0 && cfg.BeaconPort.Equal(cfg.GamePort) {
		resp.Diagnostics.AddAttributeError(path.Root("beacon_port"), "Port named twice", "beacon_port is the same as game_port; each carries TCP and UDP, so they must differ.")
	}
	services, _, diags := cfg.services(ctx)
	resp.Diagnostics.Append(diags...)
	resp.Diagnostics.Append(portsNamedTwice(services)...)
	resp.Diagnostics.Append(probesThatCannotAsk(services)...)
}

// ImportState implements resource.ResourceWithImportState, by id or by identity; Read fills in everything else.
func (r *instanceResource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	id := types.StringValue(req.ID)
	if req.ID == "" && req.Identity != nil {
		resp.Diagnostics.Append(req.Identity.GetAttribute(ctx, path.Root("server_id"), &id)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	if !rathole.ValidServerID(id.ValueString()) {
		resp.Diagnostics.AddError("Unable to import instance", fmt.Sprintf("%q is not a server_id: a letter or digit followed by up to 63 letters, digits, - or _.", id.ValueString()))
		return
	}
	resp.Diagnostics.Append(identify(ctx, resp.Identity, id)...)
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("server_id"), id)...)
}

// halves gives the clients of both services; the agent is nil if url is empty.
func (r *instanceResource) halves(url string) (*client.Manager, *agent, error) {
	mgr, err := r.manager()
	if err != nil || url == "" {
		return mgr, nil, err
	}
	a, err := r.agent(url)
	return mgr, a, err
}
