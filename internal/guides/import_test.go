package guides_test

import (
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

func importing(t *testing.T, bin, page string) {
	g := newGuide(t, bin, page, []int{7777, 27015, 30000, 30010, 30020, 30050, 30060})
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
	broken := map[string]api.Instance{}
	g.events["lost-1 has lost its client, stale-1 has new secrets that its client does not know"] = func(t *testing.T) {
		here := g.here("https://host-1.example.org:8081")
		broken["lost-1"] = g.mustMake(t, "lost-1", api.InstanceSpec{GamePort: 30050, AgentURL: here})
		if _, err := g.agents[0].Stop(t.Context(), "lost-1"); err != nil {
			t.Fatal(err)
		}
		g.mustMake(t, "stale-1", api.InstanceSpec{GamePort: 30060, AgentURL: here})
		var err error
		if broken["stale-1"], err = g.mgr.Rotate(t.Context(), "stale-1", ""); err != nil {
			t.Fatal(err)
		}
	}
	g.events["both are healthy, and their records are as they were"] = func(t *testing.T) {
		for id, before := range broken {
			after, err := g.mgr.Get(t.Context(), id)
			if err != nil || after.UID != before.UID || after.Revision != before.Revision || after.RatholePort != before.RatholePort || after.Status != api.StatusHealthy {
				t.Errorf("%s was %+v, it is %+v, %v", id, before, after, err)
			}
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
