package provider

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/probe"
)

// probesThatCannotAsk finds services with a probe over a protocol that they do not carry.
func probesThatCannotAsk(services map[string]serviceModel) (diags diag.Diagnostics) {
	for _, name := range slices.Sorted(maps.Keys(services)) {
		s := services[name]
		over, ok := probe.ProtocolOf(api.ProbeKind(s.Probe.ValueString()))
		if !ok || s.Protocols.IsUnknown() {
			continue // none, not known yet, or refused by its own validator
		}
		carried := slices.ContainsFunc(s.Protocols.Elements(), func(p attr.Value) bool {
			return p.IsUnknown() || p.Equal(types.StringValue(string(over)))
		})
		if !carried {
			diags.AddAttributeError(path.Root("services").AtMapKey(name).AtName("probe"), "Probe cannot ask",
				fmt.Sprintf("A probe of kind %s goes over %s, which service %q does not carry.", s.Probe.ValueString(), over, name))
		}
	}
	return diags
}

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
