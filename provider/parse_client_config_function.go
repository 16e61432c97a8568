package provider

import (
	"context"
	"net"
	"strconv"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// parseClientConfigFunction implements the function parse_client_config.
type parseClientConfigFunction struct{}

var _ function.Function = parseClientConfigFunction{}

func newParseClientConfigFunction() function.Function { return parseClientConfigFunction{} }

func parsedServiceType() types.ObjectType {
	return types.ObjectType{AttrTypes: map[string]attr.Type{
		"protocol": types.StringType, "local_host": types.StringType, "local_port": types.Int64Type,
	}}
}

func parsedConfigTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"remote_host": types.StringType, "remote_port": types.Int64Type, "transport": types.StringType,
		"services": types.MapType{ElemType: parsedServiceType()},
	}
}

// Metadata implements function.Function.
func (parseClientConfigFunction) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "parse_client_config"
}

// Definition implements function.Function.
func (parseClientConfigFunction) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary: "What a rathole client's TOML says, without its secrets",
		MarkdownDescription: "Reads the config of a rathole client, such as the one that many servers share today, and returns where it dials and what it forwards: " +
			"`remote_host`, `remote_port`, `transport` and `services`, by name, each with `protocol`, `local_host` and `local_port`. Tokens and keys are not " +
			"in the result. A config that rathole would refuse is an error that names the key and the line. Needs Terraform 1.8 or later.",
		Parameters: []function.Parameter{function.StringParameter{Name: "toml", MarkdownDescription: "The text of the config: `file(\"client.toml\")`."}},
		Return:     function.ObjectReturn{AttributeTypes: parsedConfigTypes()},
	}
}

// Run implements function.Function.
func (parseClientConfigFunction) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var text string
	resp.Error = req.Arguments.Get(ctx, &text)
	if resp.Error != nil {
		return
	}
	c, err := rathole.ParseClient([]byte(text))
	if err != nil {
		resp.Error = function.NewArgumentFuncError(0, err.Error())
		return
	}
	services := map[string]attr.Value{}
	for name, s := range c.Services {
		protocol := s.Type
		if protocol == "" {
			protocol = api.TCP // rathole's default
		}
		host, port := splitAddress(s.LocalAddr)
		services[name] = types.ObjectValueMust(parsedServiceType().AttrTypes, map[string]attr.Value{
			"protocol": types.StringValue(string(protocol)), "local_host": types.StringValue(host), "local_port": types.Int64Value(port),
		})
	}
	transport := c.Transport.Type
	if transport == "" {
		transport = string(api.TransportTCP)
	}
	host, port := splitAddress(c.RemoteAddr)
	resp.Error = resp.Result.Set(ctx, types.ObjectValueMust(parsedConfigTypes(), map[string]attr.Value{
		"remote_host": types.StringValue(host), "remote_port": types.Int64Value(port), "transport": types.StringValue(transport),
		"services": types.MapValueMust(parsedServiceType(), services),
	}))
}

// splitAddress cuts a host:port that the parser has checked.
func splitAddress(address string) (host string, port int64) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return address, 0
	}
	port, err = strconv.ParseInt(text, 10, 32)
	if err != nil {
		return host, 0
	}
	return host, port
}
