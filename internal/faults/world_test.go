package faults_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/flow"
)

const gamePort = 30000

// users gives engines users of their own if the test runs as root, as the programs do.
func users(base int) supervisor.UIDRange {
	r := supervisor.UIDRange{Base: base, Count: 10001}
	if r.Usable("/") != nil {
		return supervisor.UIDRange{}
	}
	return r
}

func startGame(t *testing.T) string {
	t.Helper()
	host := testkit.Address(t)
	g, err := flow.StartGame(host, gamePort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Stop)
	return host.String()
}

func newInstances(t *testing.T, game string) *instances {
	t.Helper()
	p := newProgram(t, managers, users(240000))
	c, err := client.NewManager(p.client())
	if err != nil {
		t.Fatal(err)
	}
	p.ready = c.Ready
	return &instances{Manager: c, program: p, game: game, known: map[string]identity{}}
}

func newClients(t *testing.T) (*clients, *program) {
	t.Helper()
	p := newProgram(t, agents, users(260000))
	c, err := client.NewAgent(p.client())
	if err != nil {
		t.Fatal(err)
	}
	p.ready = c.Ready
	return &clients{Agent: c}, p
}

// mustConnect makes tunnels with both halves and returns their ids and public addresses.
func mustConnect(t *testing.T, m *instances, a *clients, count int) (ids, addresses []string) {
	t.Helper()
	for i := range count {
		id := fmt.Sprintf("busy%02d", i)
		spec := api.InstanceSpec{HostIP: m.game, Services: map[string]api.ServiceSpec{
			"game": {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: gamePort},
		}}
		made, _, err := m.Create(t.Context(), api.CreateInstance{ServerID: id, InstanceSpec: spec}, client.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := m.ClientConfig(t.Context(), id, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Configure(t.Context(), id, cfg.Config, false); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
		addresses = append(addresses, fmt.Sprintf("%s:%d", m.program.Bind, made.Services["game"].PublicPort))
	}
	for _, id := range ids {
		mustBeHealthy(t, m, id)
	}
	return ids, addresses
}

func mustBeHealthy(t *testing.T, m *instances, id string) {
	t.Helper()
	if i, err := m.Wait(t.Context(), id, api.StatusHealthy, 20*time.Second); err != nil || i.Status != api.StatusHealthy {
		t.Fatalf("%s does not become healthy: %v %+v", id, err, i.Conditions)
	}
}

// players keeps a TCP and a UDP flow to each address. Their pause grows with their number, so that the traffic is the same:
// 800 messages a second.
func players(t *testing.T, addresses []string) *flow.Checker {
	t.Helper()
	return flow.Start(t.Context(), flow.Config{
		Targets: addresses, TCP: 1, UDP: 1, Rate: 2500 * time.Microsecond * time.Duration(len(addresses)),
	})
}

// mustNotHaveNoticed ends the flows. It forgives lost datagrams as far as the kernel says that it dropped packets meanwhile,
// which it does only on a machine that is overloaded.
func mustNotHaveNoticed(t *testing.T, checker *flow.Checker) flow.Report {
	t.Helper()
	report := checker.Stop()
	t.Logf("%s", report)
	if report.Dropped >= report.Lost {
		report.Lost = 0 // TCP's were sent again, and a datagram's loss is not a tunnel's
	}
	if !report.Clean() || report.Sent == 0 {
		t.Errorf("players noticed: %s", report)
	}
	return report
}
