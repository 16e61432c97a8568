package provider

import (
	"fmt"
	"sync"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// TestRefreshOfManyTakesFewRequests reads as Terraform does, ten at a time.
func TestRefreshOfManyTakesFewRequests(t *testing.T) {
	t.Parallel()
	const instances = 1000
	f := newFake(t)
	b := f.backend()
	r := b.rpc(t)
	states := make(chan tftypes.Value, instances)
	for i := range instances {
		id := fmt.Sprintf("srv-%d", i)
		inst := f.stock(id, id, api.InstanceSpec{GamePort: 20001 + i, AgentURL: b.AgentURL})
		f.agent.clients[id] = api.Client{ServerID: id, ConfigSHA256: inst.ClientConfigSHA256}
		states <- r.object(values{
			"server_id": text(id), "id": text(id), "game_port": number(20001 + i), "agent_url": text(b.AgentURL), "enabled": tftypes.NewValue(tftypes.Bool, true),
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
	if managerCalls+agentCalls >= 100 {
		t.Errorf("%d requests to the manager and %d to the agent for %d instances", managerCalls, agentCalls, instances)
	}
}
