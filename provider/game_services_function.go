package provider

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// gameServicesFunction implements the function game_services.
type gameServicesFunction struct{}

var _ function.Function = gameServicesFunction{}

func newGameServicesFunction() function.Function { return gameServicesFunction{} }

// gameServiceType is an entry of what the function returns: a subset of an entry of the attribute services, so that the one
// can be assigned to the other.
func gameServiceType() types.ObjectType {
	return types.ObjectType{AttrTypes: map[string]attr.Type{
		"protocols": types.SetType{ElemType: types.StringType}, "local_port": types.Int64Type, "probe": types.StringType,
	}}
}

// Metadata implements function.Function.
func (gameServicesFunction) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "game_services"
}

// Definition implements function.Function.
func (gameServicesFunction) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary: "The ports that a game's server has for its players",
		MarkdownDescription: "Returns the services of a well-known game as it comes, for the attribute `services` of `rathole_instance`. The manager chooses the " +
			"public ports; add `public_port` where players or the game expect a certain one, outside the manager's control ports. Ports for administrators, such as RCON, are left out: " +
			"they do not belong on the internet. Needs Terraform 1.8 or later.\n\n" + gameTable(),
		Parameters: []function.Parameter{function.StringParameter{
			Name: "name", MarkdownDescription: "The game's name, from the table: " + strings.Join(gameNames(), ", ") + ".",
		}},
		Return: function.MapReturn{ElementType: gameServiceType()},
	}
}

// Run implements function.Function.
func (gameServicesFunction) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var name string
	resp.Error = req.Arguments.Get(ctx, &name)
	if resp.Error != nil {
		return
	}
	g, known := games()[name]
	if !known {
		resp.Error = function.NewArgumentFuncError(0, fmt.Sprintf("%q is none of the games that are known here: %s. Write the services out for another one.",
			name, strings.Join(gameNames(), ", ")))
		return
	}
	services := map[string]attr.Value{}
	for name, s := range g.services {
		var protocols []attr.Value
		for _, p := range s.protocols {
			protocols = append(protocols, types.StringValue(string(p)))
		}
		services[name] = types.ObjectValueMust(gameServiceType().AttrTypes, map[string]attr.Value{
			"protocols": types.SetValueMust(types.StringType, protocols), "local_port": types.Int64Value(int64(s.port)), "probe": orNull(string(s.probe)),
		})
	}
	resp.Error = resp.Result.Set(ctx, types.MapValueMust(gameServiceType(), services))
}
