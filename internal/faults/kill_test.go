package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/flow"
)

const (
	gamePort    = 30000
	busyTunnels = 20
	// shortKills is how many kills make test has time for; FAULTS_KILLS says another number.
	shortKills = 50
	// checkEvery is after how many kills everything is compared.
	checkEvery = 10
)

// number reads a number from the environment, for the long version of a test.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

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
		if i, err := m.Wait(t.Context(), id, api.StatusHealthy, 20*time.Second); err != nil || i.Status != api.StatusHealthy {
			t.Fatalf("%s does not become healthy: %v %+v", id, err, i.Conditions)
		}
	}
	return ids, addresses
}

// TestKilledAtRandom kills the manager and the agent at random moments, while players play through tunnels and other
// instances come, change and go. No player may notice, and what was acknowledged must be.
func TestKilledAtRandom(t *testing.T) {
	seed := number(t, "FAULTS_SEED", rand.Uint64())
	kills := int(number(t, "FAULTS_KILLS", shortKills))
	t.Logf("FAULTS_SEED=%d FAULTS_KILLS=%d", seed, kills)
	random := func(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

	m := newInstances(t, startGame(t))
	a, agentProgram := newClients(t)
	for _, p := range []*program{m.program, agentProgram} {
		p.start(t, "", 0)
		p.mustBeReady(t)
	}
	busy, addresses := mustConnect(t, m, a, busyTunnels)
	checker := flow.Start(t.Context(), flow.Config{Targets: addresses, TCP: 1, UDP: 1})
	drivers := []*driver{newDriver(m.program, m, busy), newDriver(agentProgram, a, busy)}

	begin := time.Now()
	var churning sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer churning.Wait()
	defer stop()
	for i, d := range drivers {
		for w := range 3 {
			units := []string{fmt.Sprintf("w%d_a", w), fmt.Sprintf("w%d_b", w), fmt.Sprintf("w%d_c", w)}
			churning.Go(func() { d.churn(ctx, random(uint64(10*i+w+1)), units) })
		}
	}

	dice := random(0)
	for n := 1; n <= kills; n++ {
		d := drivers[0]
		if dice.IntN(5) < 2 {
			d = drivers[1]
		}
		moment := time.NewTimer(time.Duration(dice.IntN(400)) * time.Millisecond)
		<-moment.C
		d.program.kill(t)
		d.program.start(t, "", 0)
		// Now and then the next kill may come before the service is ready.
		if dice.IntN(4) > 0 {
			d.program.mustBeReady(t)
		}
		if n%checkEvery == 0 || n == kills {
			for _, d := range drivers {
				d.program.mustBeReady(t)
				d.mustAgree(t)
			}
		}
	}
	stop()
	churning.Wait()
	for _, d := range drivers {
		d.mustAgree(t)
		t.Logf("%s: %d operations acknowledged, %d not", d.program.Kind, d.acked, d.unacked)
		if d.acked < kills {
			t.Errorf("only %d operations of the %s were acknowledged: the kills leave no time for work", d.acked, d.program.Kind)
		}
	}
	report := checker.Stop()
	t.Logf("%d kills in %s; %s", kills, time.Since(begin).Round(time.Second), report)
	if !report.Clean() || report.Flows != 2*busyTunnels {
		t.Errorf("players noticed: %s", report)
	}
}
