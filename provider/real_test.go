package provider

import (
	"io"
	"net/http"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// TestStoriesReal runs the stories of the fake against the real manager, agent and engine: what holds the fake to the truth.
func TestStoriesReal(t *testing.T) {
	t.Parallel()
	stories(t, func(t *testing.T) backend {
		t.Helper()
		m, a := testkit.StartManager(t, nil), testkit.StartAgent(t, nil)
		return backend{ManagerURL: m.URL, AgentURL: a.URL, Token: secret.New(testkit.Token), Ports: storyPorts()}
	})
}

// TestReplacedInAFullRangeReal: the instance that makes place for another one is all that the manager has room for.
func TestReplacedInAFullRangeReal(t *testing.T) {
	t.Parallel()
	m, a := testkit.StartManager(t, func(c *manager.Config) {
		c.Control = []api.PortRange{{Start: 15000, End: 15000}}
		c.Public = []api.PortRange{{Start: 30000, End: 30000}}
	}), testkit.StartAgent(t, nil)
	b := backend{ManagerURL: m.URL, AgentURL: a.URL, Token: secret.New(testkit.Token)}
	const query = "services = { query = { protocols = [\"udp\"], local_port = 15777 } }\n"
	b.run(t,
		resource.TestStep{Config: b.config("srv1", query)},
		resource.TestStep{Config: b.config("srv2", query), ConfigPlanChecks: planned(plancheck.ResourceActionReplace), ConfigStateChecks: []statecheck.StateCheck{inSync()}},
	)
}

// deafTo is a transport that loses the answers to creates.
type deafTo struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (d deafTo) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := d.RoundTripper.RoundTrip(r)
	if err == nil && r.Method == http.MethodPost && r.URL.Path == api.PathInstances && r.URL.RawQuery == "" {
		_ = resp.Body.Close()
		return nil, io.ErrUnexpectedEOF
	}
	return resp, err
}

// TestUnansweredCreateReal: the real manager, too, tells whose create made an instance. What an unanswered create made is
// removed again; what somebody else made is not.
func TestUnansweredCreateReal(t *testing.T) {
	t.Parallel()
	m, a := testkit.StartManager(t, nil), testkit.StartAgent(t, nil)
	b := backend{ManagerURL: m.URL, AgentURL: a.URL, Token: secret.New(testkit.Token), Ports: storyPorts()}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	p := testProvider(nil)
	p.limits.cleanup, p.transport = defaultLimits().cleanup, deafTo{transport}
	r := configure(t, providerserver.NewProtocol6(p)(), values{"manager_url": text(b.ManagerURL), "token": text(testkit.Token)})
	config := b.resource(values{"timeouts": shortTimeouts(r)})

	h, diags := r.change(t.Context(), r.nothing(), config)
	if !failed(diags) || !h.state.IsNull() {
		t.Errorf("it left %s, and said %q", h.state, summaries(diags))
	}
	made, err := m.Events(t.Context(), client.EventQuery{After: new(int64), Types: []api.EventType{api.EventCreated}})
	if err != nil || len(made.Events) == 0 {
		t.Errorf("the manager did not even make it: %v, %v", made, err)
	}
	b.mustHave(t, 0, 0)

	b.mustCreate(t, "srv", api.InstanceSpec{GamePort: b.Ports[0], AgentURL: b.AgentURL})
	h, diags = r.change(t.Context(), r.nothing(), config)
	if !failed(diags) || !h.state.IsNull() {
		t.Errorf("beside another's it left %s, and said %q", h.state, summaries(diags))
	}
	b.mustHave(t, 1, 0)
}
