package provider

import (
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// The beginnings of an entry of drift: which half is out of step.
const (
	serverHalf = "server: "
	clientHalf = "client: "
)

// observed is what was found of the two halves.
type observed struct {
	id       string
	agentURL string        // where the client shall be; empty if nowhere
	wanted   bool          // whether it shall run there
	inst     *api.Instance // nil: the manager has none
	client   *api.Client   // nil: the agent has none
	silent   bool          // the agent was not heard, so client tells nothing
}

// drift lists what is out of step; empty if nothing. before is the drift known so far: what concerned an agent that is
// silent now is still held to be so.
func (o observed) drift(before types.List) types.List {
	drift := []string{}
	if o.inst == nil {
		drift = append(drift, serverHalf+"the manager has no instance "+o.id)
	}
	switch {
	case o.agentURL == "":
	case o.silent:
		for _, e := range before.Elements() {
			if s, ok := e.(types.String); ok && strings.HasPrefix(s.ValueString(), clientHalf) {
				drift = append(drift, s.ValueString())
			}
		}
	case o.wanted && o.client == nil:
		drift = append(drift, fmt.Sprintf("%s%s has no client %s", clientHalf, o.agentURL, o.id))
	case !o.wanted && o.client != nil:
		drift = append(drift, fmt.Sprintf("%s%s runs client %s although the instance is disabled", clientHalf, o.agentURL, o.id))
	case o.wanted && o.inst != nil && o.client.ConfigSHA256 != o.inst.ClientConfigSHA256:
		drift = append(drift, fmt.Sprintf("%s%s runs client %s with another config than the manager's", clientHalf, o.agentURL, o.id))
	}
	return stringList(drift)
}

// hash is the config that the agent runs. before is what was known so far.
func (o observed) hash(before types.String) types.String {
	switch {
	case o.agentURL == "":
		return types.StringNull()
	case o.silent:
		return before
	case o.client == nil:
		return types.StringNull()
	}
	return types.StringValue(o.client.ConfigSHA256)
}
