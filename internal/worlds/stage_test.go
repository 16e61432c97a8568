package worlds_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/flow"
)

// The ports of the games of a stage, on both sides.
const (
	gamePort  = 30000
	otherPort = 30001
)

// mustConnect makes a tunnel with both halves.
func mustConnect(t *testing.T, m *testkit.Manager, a *testkit.Agent, id string, spec api.InstanceSpec) api.Instance {
	t.Helper()
	made, _, err := m.Create(t.Context(), api.CreateInstance{ServerID: id, InstanceSpec: spec}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mustConfigure(t, m, a, id)
	mustBeHealthy(t, m, id, 10*time.Second)
	return made
}

// mustConfigure hands an instance's newest config to an agent.
func mustConfigure(t *testing.T, m *testkit.Manager, a *testkit.Agent, id string) {
	t.Helper()
	cfg, err := m.ClientConfig(t.Context(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Configure(t.Context(), id, cfg.Config, false); err != nil {
		t.Fatal(err)
	}
}

func mustBeHealthy(t *testing.T, m *testkit.Manager, id string, within time.Duration) {
	t.Helper()
	if i, err := m.Wait(t.Context(), id, api.StatusHealthy, within); err != nil || i.Status != api.StatusHealthy {
		t.Fatalf("%s does not become healthy within %s: %v %+v", id, within, err, i.Conditions)
	}
}

func mustStartGame(t *testing.T, host netip.Addr, port int) *flow.Game {
	t.Helper()
	g, err := flow.StartGame(host, port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Stop)
	return g
}

// service is a service with the same port on both sides.
func service(port int, protocols ...api.Protocol) api.ServiceSpec {
	return api.ServiceSpec{Protocols: protocols, LocalPort: port, PublicPort: port}
}

func address(host netip.Addr, port int) string { return fmt.Sprintf("%s:%d", host, port) }
