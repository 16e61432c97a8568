package provider

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"sync"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// shared is what the cases of one scenario find out only once, for most of the time goes into Terraform's plans and applies: all of
// them begin with what was applied earlier, most with one and the same plan, and they end in one of a few worlds.
type shared struct {
	begin     *world // this and the plan are set by the case in health, before there are others
	plan      intent
	said      []*tfprotov6.Diagnostic
	converged sync.Map // worlds, as text, from which the next run was tried
}

// intend makes the plan.
func (s *shared) intend(m *matrix, r *rpc) {
	m.t.Helper()
	plan, said := r.intend(m.t.Context(), m.held, m.after)
	if plan == nil {
		m.t.Fatalf("there is nothing to apply: %q", summaries(said))
	}
	s.plan, s.said = *plan, said
}

// world is what exists, and what Terraform holds of it.
type world struct {
	Instances map[string]savedInstance
	Clients   [2]map[string]api.Client // by agent
	nextPort  int
	held      held
}

type savedInstance struct {
	api.Instance
	Key, Config string
	Met         bool
}

// world gives a copy of what there is now.
func (m *matrix) world(h held) *world {
	m.fake.state.Lock()
	defer m.fake.state.Unlock()
	w := &world{Instances: map[string]savedInstance{}, nextPort: m.fake.nextPort, held: h}
	for id, i := range m.fake.instances {
		w.Instances[id] = savedInstance{i.Instance, i.key, i.config, i.met}
	}
	for n, a := range m.fake.agents() {
		w.Clients[n] = maps.Clone(a.clients)
	}
	return w
}

// enter makes a world's instances and clients those of the fake, which has none yet.
func (m *matrix) enter(w *world) {
	for id, i := range w.Instances {
		m.fake.instances[id] = &fakeInstance{Instance: i.Instance, key: i.Key, config: i.Config, met: i.Met}
	}
	for n, a := range m.fake.agents() {
		maps.Copy(a.clients, w.Clients[n])
	}
	m.fake.nextPort, m.held = w.nextPort, w.held
}

// chosen is what the provider and the fake choose anew each time: keys, digests, and numbers that are counted up.
var chosen = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}|1\d{4}`)

// text is the same for two worlds that differ in nothing but what was chosen: which of these are the same as others shows, and
// what they are does not.
func (w *world) text(t *testing.T) string {
	t.Helper()
	exists, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	identity := ""
	if w.held.identity != nil && w.held.identity.IdentityData != nil {
		identity = string(w.held.identity.IdentityData.MsgPack)
	}
	known := map[string]string{}
	return chosen.ReplaceAllStringFunc(fmt.Sprintf("%s %s %s %q %t", exists, w.held.state, w.held.private, identity, w.held.tainted), func(s string) string {
		if known[s] == "" {
			known[s] = fmt.Sprintf("<%d>", len(known))
		}
		return known[s]
	})
}
