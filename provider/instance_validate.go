package provider

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// portsNamedTwice finds public ports that two services of one resource ask for with the same protocol.
func portsNamedTwice(services map[string]serviceModel) (diags diag.Diagnostics) {
	type socket struct {
		port     int64
		protocol string
	}
	owner := map[socket]string{}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		s := services[name]
		if s.PublicPort.IsNull() || s.PublicPort.IsUnknown() {
			continue
		}
		for _, p := range s.Protocols.Elements() {
			text, ok := p.(types.String)
			if !ok || text.IsUnknown() {
				continue
			}
			key := socket{s.PublicPort.ValueInt64(), text.ValueString()}
			if other, taken := owner[key]; taken {
				diags.AddAttributeError(path.Root("services").AtMapKey(name).AtName("public_port"), "Port named twice",
					fmt.Sprintf("Public port %d/%s is also that of service %q.", key.port, key.protocol, other))
				continue
			}
			owner[key] = name
		}
	}
	return diags
}
