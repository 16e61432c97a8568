package provider

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// TestCreateAndDestroyOfOneInstance runs both at once in one run of Terraform, as two addresses with one server_id have it, and as
// create_before_destroy has it one after the other. Whichever comes first, what the create gave holds.
func TestCreateAndDestroyOfOneInstance(t *testing.T) {
	t.Parallel()
	schemaTypes() // outside of any bubble
	const adopted = "W Instance existed already: "
	for name, tt := range map[string]struct {
		slow         string // the route at which the first operation is held up
		destroyFirst bool
		refused      bool     // the create
		impatient    bool     // the destroy, with a second
		create       []string // what the create says
		destroy      []string // what the destroy says
		left         bool     // the instance
	}{
		"create first":            {slow: configureRoute, create: []string{adopted}, destroy: []string{"W Instance not destroyed: "}, left: true},
		"create first, and fails": {slow: configureRoute, refused: true, create: []string{adopted, "E Unable to configure client: "}},
		"create first, and slow": {
			slow: configureRoute, impatient: true, create: []string{adopted}, destroy: []string{"E Unable to delete instance: Another resource of this run"}, left: true,
		},
		"destroy first": {slow: stopRoute, destroyFirst: true, left: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := simple
			if tt.impatient {
				before = simple.with(values{"timeouts": patienceOf("1s")})
			}
			bubble(t, scenario{before: before}, func(m *matrix) {
				t := m.t
				begun, goOn := make(chan struct{}), make(chan struct{})
				f := fault{before: func() { close(begun); <-goOn }, times: 1}
				if tt.refused {
					f.status, f.code = 422, api.CodeInvalidConfig
				}
				m.fake.agent.fail(tt.slow, f)
				uid := m.fake.instances[matrixID].UID
				r := m.run(nil)
				var made, kept held
				var created, destroyed []*tfprotov6.Diagnostic
				create := func() { made, created = r.change(t.Context(), r.nothing(), simple) }
				destroy := func() { kept, destroyed = r.change(t.Context(), m.held, nil) }
				first, second := create, destroy
				if tt.destroyFirst {
					first, second = destroy, create
				}
				var both, waiting sync.WaitGroup
				both.Go(first)
				<-begun
				calls := len(m.fake.log.since(0))
				waiting.Go(second)
				synctest.Wait()
				if more := m.fake.log.since(calls); slices.ContainsFunc(more, seenCall.changes) {
					t.Errorf("the second did not wait: %q", names(more))
				}
				if tt.impatient {
					waiting.Wait()
				}
				close(goOn)
				both.Wait()
				waiting.Wait()

				mustBegin(t, created, tt.create)
				mustBegin(t, destroyed, tt.destroy)
				if made.state.IsNull() != tt.refused || kept.state.IsNull() == failed(destroyed) {
					t.Errorf("the new object is %s, the old one %s", made.state, kept.state)
				}
				instance, agents := m.where()
				if instance != tt.left || (len(agents) == 1) != tt.left {
					t.Fatalf("there is an instance: %t, and clients on %q", instance, agents)
				}
				if tt.left && (m.fake.instances[matrixID].UID == uid) == tt.destroyFirst {
					t.Errorf("the instance was %s, and is %s", uid, m.fake.instances[matrixID].UID)
				}
			})
		})
	}
}
