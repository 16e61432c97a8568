package provider

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
)

// pair is a configuration of two instances with a port each.
func (b backend) pair(first, second int) string {
	return b.provider() + b.instance("a", "srv-a", fmt.Sprintf("game_port = %d\n", first)) +
		b.instance("b", "srv-b", fmt.Sprintf("game_port = %d\n", second))
}

// storyPortPassedOn gives a port of one instance to another, in one apply.
func storyPortPassedOn(t *testing.T, b backend) {
	b.run(t,
		resource.TestStep{Config: b.pair(b.Ports[0], b.Ports[1])},
		// b may be first to ask for the port that a gives up in the same apply: it waits.
		resource.TestStep{Config: b.pair(b.Ports[2], b.Ports[0])},
		resource.TestStep{
			Config: b.pair(b.Ports[1], b.Ports[0]),
			Check:  func(*terraform.State) error { return b.has(t, 2, 2) },
		},
	)
}

// storyPortsSwappedWithin swaps the ports of two services of one instance.
func storyPortsSwappedWithin(t *testing.T, b backend) {
	pair := func(first, second int) string {
		service := "%s = { protocols = [\"tcp\", \"udp\"], local_port = 7777, public_port = %d }\n"
		return b.config("srv", "services = {\n"+fmt.Sprintf(service, "a", first)+fmt.Sprintf(service, "b", second)+"}\n")
	}
	b.run(t,
		resource.TestStep{Config: pair(b.Ports[0], b.Ports[1])},
		resource.TestStep{
			Config: pair(b.Ports[1], b.Ports[0]), ConfigPlanChecks: planned(plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{
				expect("status", knownvalue.StringExact("healthy")), inSync(),
				expect("endpoints", knownvalue.MapPartial(map[string]knownvalue.Check{"a": knownvalue.StringRegexp(regexp.MustCompile(fmt.Sprintf(":%d$", b.Ports[1])))})),
			},
		},
	)
}

// TestPortsSwapped: two instances that take over each other's ports wait for each other. The error says how it is done.
func TestPortsSwapped(t *testing.T) {
	t.Parallel()
	b := newFake(t).backend()
	first, second, spare := b.Ports[0], b.Ports[1], b.Ports[2]
	b.run(t,
		resource.TestStep{Config: b.pair(first, second)},
		resource.TestStep{
			Config: b.pair(second, first),
			ExpectError: says("Unable to update instance", "port_in_use", "by instance srv-", "waited for that instance to give the port up",
				"give one of them a port that nobody has, apply, then give it the port that it shall have"),
		},
		resource.TestStep{Config: b.pair(first, second), PlanOnly: true},
		resource.TestStep{Config: b.pair(spare, first)}, // which the error advises, and half of the swap with it
		resource.TestStep{Config: b.pair(second, first), Check: func(*terraform.State) error { return b.has(t, 2, 2) }},
	)
}

// storyPortGivenAway asks for a port, for one service, that the manager has chosen for another one. Where they share a protocol the
// other gets a new port; else it keeps the number.
func storyPortGivenAway(t *testing.T, b backend) {
	r := b.rpc(t)
	auto := values{"protocols": protocols("udp"), "local_port": number(15777)}
	with := func(services map[string]values) values {
		return values{"server_id": text("srv"), "services": servicesOf(services)}
	}
	state, diags := r.apply(t.Context(), nil, with(map[string]values{"a": auto}))
	mustBeSilent(t, diags)
	chosen := r.publicPort(state, "a")
	named := func(protocol string) map[string]values {
		return map[string]values{"a": auto, "b": {"protocols": protocols(protocol), "local_port": number(15778), "public_port": chosen}}
	}

	state, diags = r.apply(t.Context(), &state, with(named("tcp")))
	mustBeSilent(t, diags)
	if a, b := r.publicPort(state, "a"), r.publicPort(state, "b"); !a.Equal(chosen) || !b.Equal(chosen) {
		t.Errorf("beside the same number over TCP it has %s, it had %s; the other has %s", a, chosen, b)
	}
	planned, diags := r.plan(&state, with(named("udp")))
	mustBeSilent(t, diags)
	if a := r.publicPort(planned, "a"); a.IsKnown() {
		t.Errorf("its port is planned as %s, and the other service has it", a)
	}
	state, diags = r.apply(t.Context(), &state, with(named("udp")))
	mustBeSilent(t, diags)
	if a, b := r.publicPort(state, "a"), r.publicPort(state, "b"); a.Equal(chosen) || a.IsNull() || !b.Equal(chosen) {
		t.Errorf("it has %s, and the other %s, want another port and %s", a, b, chosen)
	}
	b.mustDelete(t, "srv")
}

// publicPort is that of a service.
func (r *rpc) publicPort(state tftypes.Value, service string) tftypes.Value {
	r.t.Helper()
	services := map[string]tftypes.Value{}
	if err := r.fields(state)["services"].As(&services); err != nil {
		r.t.Fatal(err)
	}
	return r.fields(services[service])["public_port"]
}
