package provider

import (
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

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
