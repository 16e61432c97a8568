// Package provider is the Terraform side: it turns a rathole_instance into an instance on a manager and a client on an
// agent, and keeps both in step.
//
// One resource over two services is unusual for Terraform. What it needs to be safe is in instance_create.go (undo what
// was begun), instance_read.go (one half gone is drift, not absence) and instance_update.go (repair in place).
package provider

import (
	"context"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/mapvalidator"
	"github.com/hashicorp/terraform-plugin-framework/action"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/list"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// Address is the provider's name in a registry and in required_providers.
const Address = "registry.terraform.io/satishost/rathole"

// The environment that stands in for provider attributes which are not set.
const (
	envManagerURL = "RATHOLE_MANAGER_URL"
	envToken      = "RATHOLE_TOKEN"
	envAgentToken = "RATHOLE_AGENT_TOKEN"
)

// limits are the times that tests shorten.
type limits struct {
	portWait  time.Duration // how long a create or update waits for another instance to let go of a port
	agentRead time.Duration // how long a refresh waits for an agent, once per agent and run
	agentStop time.Duration // how long a stop waits for an agent that is not essential; to end an engine takes up to 5 s
	planCheck time.Duration // how long a plan waits for the manager's opinion
	cleanup   time.Duration // how long undoing a failed create may take, whatever became of its own time
	poll      time.Duration // one long poll of the manager
}

func defaultLimits() limits {
	return limits{
		portWait: 30 * time.Second, agentRead: 3 * time.Second, agentStop: 8 * time.Second, planCheck: 5 * time.Second,
		cleanup: 30 * time.Second, poll: 25 * time.Second,
	}
}

// ratholeProvider implements provider.Provider.
type ratholeProvider struct {
	version   string
	getenv    func(string) string
	limits    limits
	transport http.RoundTripper // for tests; nil: each client's own
}

var (
	_ provider.ProviderWithActions            = (*ratholeProvider)(nil)
	_ provider.ProviderWithListResources      = (*ratholeProvider)(nil)
	_ provider.ProviderWithEphemeralResources = (*ratholeProvider)(nil)
	_ provider.ProviderWithFunctions          = (*ratholeProvider)(nil)
)

// New gives a constructor of the provider; version is that of the release.
func New(version string) func() provider.Provider {
	return func() provider.Provider {
		return &ratholeProvider{version: version, getenv: os.Getenv, limits: defaultLimits()}
	}
}

// byVariable is said of each token: what Terraform does with a provider's configuration is not what it does with a variable's value.
const byVariable = "It is never in the state. Given by a variable, let that be `ephemeral`: a saved plan keeps one that is only `sensitive`."

type providerModel struct {
	ManagerURL   types.String `tfsdk:"manager_url"`
	Token        types.String `tfsdk:"token"`
	AgentToken   types.String `tfsdk:"agent_token"`
	AgentTokens  types.Map    `tfsdk:"agent_tokens"`
	ForceDestroy types.Bool   `tfsdk:"force_destroy"`
}

// Metadata implements provider.Provider.
func (p *ratholeProvider) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName, resp.Version = "rathole", p.version
}

// Schema implements provider.Provider.
func (p *ratholeProvider) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Runs one isolated [rathole](https://github.com/rathole-org/rathole) tunnel per game server: " +
			"a server process on a VPS, by a rathole-manager, and a client process beside the game, by a rathole-agent. " +
			"No argument takes a tunnel's secret, for the manager makes them, and none is ever kept in the state.",
		Attributes: map[string]schema.Attribute{
			"manager_url": schema.StringAttribute{
				MarkdownDescription: "Where the manager answers, such as `https://vps:7001`. Default: the environment variable `" + envManagerURL + "`.",
				Optional:            true, Validators: []validator.String{serviceURL{}},
			},
			"token": schema.StringAttribute{
				MarkdownDescription: "The manager's API token. Default: the environment variable `" + envToken + "`. " + byVariable,
				Optional:            true, Sensitive: true,
			},
			"agent_token": schema.StringAttribute{
				MarkdownDescription: "The API token of the agents. Default: the environment variable `" + envAgentToken + "`, else `token`. " + byVariable,
				Optional:            true, Sensitive: true,
			},
			"agent_tokens": schema.MapAttribute{
				MarkdownDescription: "API tokens of single agents, by `agent_url`, before `agent_token`. " + byVariable,
				Optional:            true, Sensitive: true, ElementType: types.StringType,
				Validators: []validator.Map{mapvalidator.KeysAre(serviceURL{})},
			},
			"force_destroy": schema.BoolAttribute{
				MarkdownDescription: "Destroy the server half of an instance even if its agent cannot be reached, for hosts that will never answer again. The client is " +
					"then left behind on its host, without a server. `force_destroy` of a resource goes before it. Default `false`.",
				Optional: true,
			},
		},
	}
}

// Configure implements provider.Provider. Nothing is sent, and nothing that is missing is an error here: a plan may need no
// call at all, and a URL may be known only once another resource exists.
func (p *ratholeProvider) Configure(ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	var cfg providerModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &cfg)...)
	if resp.Diagnostics.HasError() {
		return
	}
	tokens := map[string]types.String{}
	if !cfg.AgentTokens.IsNull() && !cfg.AgentTokens.IsUnknown() {
		resp.Diagnostics.Append(cfg.AgentTokens.ElementsAs(ctx, &tokens, false)...)
	}
	c := &connections{
		managerURL: p.orEnv(cfg.ManagerURL, envManagerURL),
		token:      p.orEnv(cfg.Token, envToken),
		agentToken: p.orEnv(cfg.AgentToken, envAgentToken),
		tokens:     map[string]types.String{}, tokensUnknown: cfg.AgentTokens.IsUnknown(),
		userAgent: "terraform-provider-rathole/" + p.version + " Terraform/" + req.TerraformVersion,
		limits:    p.limits, transport: p.transport, forceDestroy: cfg.ForceDestroy,
		agents: map[string]*agent{}, warned: map[string]bool{}, replaced: map[string]string{},
		created: map[string]bool{},
	}
	for url, token := range tokens {
		c.tokens[canonical(url)] = token
	}
	resp.ResourceData, resp.DataSourceData, resp.EphemeralResourceData, resp.ListResourceData, resp.ActionData = c, c, c, c, c
}

// orEnv lets the environment stand in for what is not set, and never for what is not known yet: the default would send a
// plan, and the token, to another manager.
func (p *ratholeProvider) orEnv(v types.String, name string) types.String {
	if !v.IsNull() {
		return v
	}
	if text := p.getenv(name); text != "" {
		return types.StringValue(text)
	}
	return types.StringNull()
}

// Resources implements provider.Provider.
func (p *ratholeProvider) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{newInstanceResource}
}

// DataSources implements provider.Provider.
func (p *ratholeProvider) DataSources(context.Context) []func() datasource.DataSource {
	return []func() datasource.DataSource{newInstanceDataSource, newInstancesDataSource, newManagerDataSource}
}

// EphemeralResources implements provider.ProviderWithEphemeralResources.
func (p *ratholeProvider) EphemeralResources(context.Context) []func() ephemeral.EphemeralResource {
	return []func() ephemeral.EphemeralResource{newClientConfigEphemeral}
}

// Functions implements provider.ProviderWithFunctions.
func (p *ratholeProvider) Functions(context.Context) []func() function.Function {
	return []func() function.Function{newGameServicesFunction, newParseClientConfigFunction}
}

// ListResources implements provider.ProviderWithListResources.
func (p *ratholeProvider) ListResources(context.Context) []func() list.ListResource {
	return []func() list.ListResource{newInstanceListResource}
}

// Actions implements provider.ProviderWithActions.
func (p *ratholeProvider) Actions(context.Context) []func() action.Action {
	return []func() action.Action{newProbeAction, newRestartAction, newRotateSecretAction}
}
