package guides_test

import (
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

func importing(t *testing.T, bin, page string) {
	g := newGuide(t, bin, page, []int{7777, 27015, 30000, 30010, 30020})
	udp := func(port int) api.ServiceSpec {
		return api.ServiceSpec{Protocols: []api.Protocol{api.UDP}, LocalPort: port}
	}
	var before api.Instance
	g.events["instances exist"] = func(t *testing.T) {
		host := g.game.Host.String()
		here := g.here("https://host-1.example.org:8081")
		before = g.mustMake(t, "ark-1", api.InstanceSpec{
			Services: map[string]api.ServiceSpec{"game": udp(7777), "query": udp(27015)}, HostIP: host, AgentURL: here, Labels: map[string]string{"owner": "user123"},
		})
		g.mustMake(t, "us-1", api.InstanceSpec{GamePort: 30000, AgentURL: here})
		g.mustMake(t, "eu-1", api.InstanceSpec{GamePort: 30010, AgentURL: here})
		g.mustMake(t, "eu-2", api.InstanceSpec{GamePort: 30020})
		g.mustMake(t, "us-2", api.InstanceSpec{GamePort: 30030})
	}
	g.events["ark-1 is as it was"] = func(t *testing.T) {
		after, err := g.mgr.Get(t.Context(), "ark-1")
		if err != nil || after.UID != before.UID || after.Revision != before.Revision || after.Status != api.StatusHealthy {
			t.Errorf("it was %+v, it is %+v, %v", before, after, err)
		}
	}
	g.follow(t)
}

// mustMake makes an instance, and its client if an agent is named, as an orchestrator does.
func (g *guide) mustMake(t *testing.T, id string, spec api.InstanceSpec) api.Instance {
	t.Helper()
	inst, _, err := g.mgr.Create(t.Context(), api.CreateInstance{ServerID: id, InstanceSpec: spec}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if spec.AgentURL == "" {
		return inst
	}
	cfg, err := g.mgr.ClientConfig(t.Context(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.agents[0].Configure(t.Context(), id, cfg.Config, false); err != nil {
		t.Fatal(err)
	}
	inst, err = g.mgr.Wait(t.Context(), id, api.StatusHealthy, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return inst
}
