package provider

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// unanswered is the world after a create that the manager did not answer, nor the question after it; made tells whether it
// was carried out.
func unanswered(m *matrix, made bool) {
	m.t.Helper()
	m.fake.manager.fail(createRoute, fault{lost: made, cut: !made})
	m.fake.manager.fail("dry "+createRoute, fault{cut: true})
	h, diags := m.run(nil).change(m.t.Context(), m.held, simple)
	if !h.tainted || !failed(diags) {
		m.t.Fatalf("the state is %s, tainted: %t, %q", h.state, h.tainted, summaries(diags))
	}
	m.held = h
	m.fake.mend()
}

// somebodyElse makes an instance of the same name.
func somebodyElse(m *matrix) {
	m.fake.stock(matrixID, "theirs", api.InstanceSpec{GamePort: 30005})
}

// TestUnansweredCreate: what exists after a create that nobody answered is destroyed only if that create made it, although
// Terraform gives the destroy of what is tainted no private state.
func TestUnansweredCreate(t *testing.T) {
	t.Parallel()
	schemaTypes() // outside of any bubble
	for name, tt := range map[string]struct {
		made, theirs bool
		unrefreshed  bool   // as by -refresh=false
		silent       bool   // the manager, to the question
		says         string // of the refresh, or of the apply without one
		kept         bool   // the state, by what says that
	}{
		"made":                              {made: true, kept: true},
		"not made":                          {says: "W Instance was not created: "},
		"not made, and another is there":    {theirs: true, says: "W Instance was not created: "},
		"the manager is still silent":       {made: true, silent: true, says: "E Unable to read instance: ", kept: true},
		"unrefreshed, made":                 {made: true, unrefreshed: true, says: "E Unable to delete instance: ", kept: true},
		"unrefreshed, and another is there": {theirs: true, unrefreshed: true, says: "E Unable to delete instance: ", kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, scenario{act: applies, after: simple}, func(m *matrix) {
				t := m.t
				unanswered(m, tt.made)
				if tt.theirs {
					somebodyElse(m)
				}
				if tt.silent {
					m.fake.manager.fail("dry "+createRoute, fault{cut: true})
				}
				deletes := m.fake.manager.seen(deleteRoute)
				act := (*rpc).refresh
				if tt.unrefreshed {
					act = func(r *rpc, ctx context.Context, h held) (held, []*tfprotov6.Diagnostic) {
						return r.change(ctx, h, simple)
					}
				}
				h, diags := act(m.run(nil), t.Context(), m.held)
				if got := summaries(diags); (len(got) > 0) != (tt.says != "") || (len(got) > 0 && !strings.HasPrefix(got[0], tt.says)) {
					t.Fatalf("it says %q, want %q", got, tt.says)
				}
				if h.state.IsNull() == tt.kept || m.fake.manager.seen(deleteRoute) != deletes {
					t.Fatalf("the state is %s; %d deletes", h.state, m.fake.manager.seen(deleteRoute)-deletes)
				}
				m.fake.mend()
				r := m.run(nil)
				h, _ = r.refresh(t.Context(), h)
				h, diags = r.change(t.Context(), h, simple)
				if !tt.theirs {
					r.must(nil, diags)
					m.mustConverge(h)
					return
				}
				if got := summaries(diags); !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "terraform import rathole_instance.NAME srv") }) {
					t.Errorf("another's instance is in the way, and it says %q", got)
				}
				if inst := m.fake.instances[matrixID]; inst == nil || inst.UID != "theirs" {
					t.Errorf("another's instance was not left alone: %+v", inst)
				}
			})
		})
	}
}

// TestUnansweredCreateOfWhatExists: a create that is refused after a try that was not answered shows how to import.
func TestUnansweredCreateOfWhatExists(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	r := b.rpc(t)
	b.mustCreate(t, "srv", api.InstanceSpec{GamePort: b.Ports[1]})
	f.manager.fail(createRoute, fault{answer: func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }, times: 1})
	h, diags := r.change(t.Context(), r.nothing(), b.resource(nil))
	if got := strings.Join(summaries(diags), "\n"); !h.state.IsNull() || !strings.Contains(got, "it did not make the instance") ||
		strings.Count(got, "terraform import rathole_instance.NAME srv") != 2 { // of the plan's warning, and of the error
		t.Errorf("the state is %s, %q", h.state, got)
	}
	b.mustHave(t, 1, 0)
}

// TestUnansweredCreateInTerraform: the same with Terraform itself, which destroys what is tainted before it creates anew.
func TestUnansweredCreateInTerraform(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	config := b.config("srv", b.game()+hasty)
	b.run(t,
		resource.TestStep{
			PreConfig: func() {
				f.manager.fail(createRoute, fault{cut: true})
				f.manager.fail("dry "+createRoute, fault{cut: true})
			},
			Config: config, ExpectError: says("Unable to create instance", "is not known", "kept in the state, tainted"),
		},
		resource.TestStep{
			PreConfig: func() {
				f.manager.mend()
				b.mustCreate(t, "srv", api.InstanceSpec{GamePort: b.Ports[1]})
			},
			Config: config, ExpectError: says("Unable to create instance", "terraform import rathole_instance.NAME srv"),
		},
		resource.TestStep{
			PreConfig: func() {
				if n := f.manager.seen(deleteRoute); n != 0 {
					t.Errorf("%d deletes of another's instance", n)
				}
				b.mustDelete(t, "srv")
			},
			Config: config,
		},
	)
}
