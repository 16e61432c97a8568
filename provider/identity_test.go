package provider

import (
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
)

// TestImport by id and by identity: both give the same, with the identity set from the first answer on.
func TestImport(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	r := b.rpc(t)
	made, diags := r.change(t.Context(), r.nothing(), b.resource(nil))
	mustBeSilent(t, diags)
	for name, req := range map[string]*tfprotov6.ImportResourceStateRequest{
		"by id":       {TypeName: "rathole_instance", ID: "srv"},
		"by identity": {TypeName: "rathole_instance", Identity: r.identityOf("srv")},
	} {
		resp, err := r.ImportResourceState(t.Context(), req)
		r.must(err, resp.Diagnostics)
		r.mustIdentify(resp.ImportedResources[0].Identity, "srv")
		h, diags := r.imported(t.Context(), req)
		mustBeSilent(t, diags)
		r.mustIdentify(h.identity, "srv")
		if !h.state.Equal(made.state) {
			t.Errorf("%s: the state is %s, want %s", name, h.state, made.state)
		}
	}
}

// TestImportOfWhatIsNoName is refused before anything is asked, by whichever way it comes.
func TestImportOfWhatIsNoName(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	r := f.backend().rpc(t)
	for _, id := range []string{"../etc", "-", "a b"} {
		for _, req := range []*tfprotov6.ImportResourceStateRequest{
			{TypeName: "rathole_instance", ID: id},
			{TypeName: "rathole_instance", Identity: r.identityOf(id)},
		} {
			_, diags := r.imported(t.Context(), req)
			mustSay(t, diags, "E Unable to import instance: ")
		}
	}
	if n := f.manager.seen(""); n != 0 {
		t.Errorf("the manager was asked %d times", n)
	}
}

// TestIdentityOnEveryPath: Terraform before 1.12 keeps none, so each answer must bring it, also that of a refresh which finds
// nothing, or no manager.
func TestIdentityOnEveryPath(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	r := b.rpc(t)
	h, diags := r.change(t.Context(), r.nothing(), b.resource(nil))
	mustBeSilent(t, diags)
	r.mustIdentify(h.identity, "srv")

	h.identity = nil
	updated, diags := r.change(t.Context(), h, b.resource(values{"game_port": number(b.Ports[1])}))
	mustBeSilent(t, diags)
	r.mustIdentify(updated.identity, "srv")

	read := func() *tfprotov6.ReadResourceResponse {
		t.Helper()
		resp, err := r.ReadResource(t.Context(), &tfprotov6.ReadResourceRequest{TypeName: "rathole_instance", CurrentState: r.dynamic(r.schema, updated.state)})
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	r.mustIdentify(read().NewIdentity, "srv")

	f.manager.fail(getRoute, fault{cut: true})
	resp := read()
	mustSay(t, resp.Diagnostics, "E Unable to read instance: ")
	r.mustIdentify(resp.NewIdentity, "srv")
	f.mend()

	b.mustDelete(t, "srv")
	b.mustStop(t, "srv")
	resp = read()
	mustBeSilent(t, resp.Diagnostics)
	if !r.decode(resp.NewState).IsNull() {
		t.Error("what is gone is still in the state")
	}
	r.mustIdentify(resp.NewIdentity, "srv")
}

// TestFailedCreateIsIdentified, where it leaves something in the state.
func TestFailedCreateIsIdentified(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	for _, route := range []string{createRoute, "dry " + createRoute} {
		f.manager.fail(route, fault{garbage: true})
	}
	r := b.rpc(t)
	h, diags := r.change(t.Context(), r.nothing(), b.resource(nil))
	if !failed(diags) || h.state.IsNull() || !h.tainted {
		t.Fatalf("it left %s, and said %q", h.state, summaries(diags))
	}
	r.mustIdentify(h.identity, "srv")
}
