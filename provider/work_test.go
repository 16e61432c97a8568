package provider

import (
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// TestUndoSparesAnotherManagersClient, of which the agent tells only after a try that it did not answer.
func TestUndoSparesAnotherManagersClient(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	f.agent.clients["srv"] = api.Client{ServerID: "srv", ConfigSHA256: "theirs"}
	f.agent.fail(configureRoute, fault{cut: true, times: 1, before: func() {
		f.agent.fail(configureRoute, fault{status: 409, code: api.CodeClientExists})
	}})
	state, diags := b.rpc(t).apply(t.Context(), nil, b.resource(nil))
	mustSay(t, diags, "E Unable to configure client: ")
	if tries := f.agent.seen(configureRoute); tries != 2 {
		t.Errorf("configured %d times, want one try unanswered and one refused", tries)
	}
	if !state.IsNull() || f.agent.seen(stopRoute) != 0 || f.agent.clients["srv"].ConfigSHA256 != "theirs" {
		t.Errorf("another manager's client was stopped: %+v, the state is %s", f.agent.clients, state)
	}
	b.mustHave(t, 0, 1)
}
