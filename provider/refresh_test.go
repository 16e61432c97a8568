package provider

import (
	"fmt"
	"sync"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// TestRefreshOfManyTakesFewRequests reads as Terraform does, ten at a time.
func TestRefreshOfManyTakesFewRequests(t *testing.T) {
	t.Parallel()
	const instances = 100
	f := newFake(t)
	b := f.backend()
	r := b.rpc(t)
	mgr, agent := b.manager(t), b.agent(t)
	states := make(chan tftypes.Value, instances)
	for i := range instances {
		id := fmt.Sprintf("srv-%d", i)
		inst, _, err := mgr.Create(t.Context(), api.CreateInstance{ServerID: id, InstanceSpec: api.InstanceSpec{GamePort: 20000 + i, AgentURL: b.AgentURL}}, client.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := mgr.ClientConfig(t.Context(), id, "")
		if err == nil {
			_, err = agent.Configure(t.Context(), id, cfg.Config, false)
		}
		if err != nil {
			t.Fatal(err)
		}
		states <- r.object(values{
			"server_id": text(id), "id": text(id), "game_port": number(20000 + i), "agent_url": text(b.AgentURL), "enabled": tftypes.NewValue(tftypes.Bool, true),
			"client_config_sha256": text(inst.ClientConfigSHA256),
		})
	}
	close(states)
	managerCalls, agentCalls := f.manager.seen(""), f.agent.seen("")
	var readers sync.WaitGroup
	for range 10 {
		readers.Go(func() {
			for state := range states {
				after, diags := r.read(state)
				mustBeSilent(t, diags)
				if r.fields(after)["status"].Equal(text("healthy")) {
					continue
				}
				t.Errorf("refreshed to %v", after)
			}
		})
	}
	readers.Wait()
	managerCalls, agentCalls = f.manager.seen("")-managerCalls, f.agent.seen("")-agentCalls
	t.Logf("%d requests to the manager and %d to the agent for %d instances", managerCalls, agentCalls, instances)
	if managerCalls > 60 || agentCalls > 60 {
		t.Errorf("%d requests to the manager and %d to the agent for %d instances", managerCalls, agentCalls, instances)
	}
}
