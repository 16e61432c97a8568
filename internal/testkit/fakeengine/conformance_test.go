package fakeengine_test

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/agent"
	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/fakeengine"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// pair is an instance whose two halves run on engines of choice.
type pair struct {
	*testing.T
	manager *testkit.Manager
	agent   *testkit.Agent
	spec    api.InstanceSpec
}

// TestServicesSeeTheSame tells one story on the real engine, on its stand-in, and on one half of each: whatever the
// services look at, they see the same.
func TestServicesSeeTheSame(t *testing.T) {
	t.Parallel()
	engines := map[string]string{"real": testkit.Rathole(t), "stand-in": fakeengine.Build(t)}
	for _, server := range slices.Sorted(maps.Keys(engines)) {
		for _, client := range slices.Sorted(maps.Keys(engines)) {
			t.Run(server+" server, "+client+" client", func(t *testing.T) {
				t.Parallel()
				tell(t, engines[server], engines[client])
			})
		}
	}
}

func tell(t *testing.T, server, client string) {
	p := &pair{
		T:       t,
		manager: testkit.StartManager(t, func(c *manager.Config) { c.Binary, c.BackoffMin = server, 300*time.Millisecond }),
		agent:   testkit.StartAgent(t, func(c *agent.Config) { c.Binary, c.BackoffMin = client, 300*time.Millisecond }),
		spec: api.InstanceSpec{Services: map[string]api.ServiceSpec{
			"game":  {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: 7777, PublicPort: 30000},
			"query": {Protocols: []api.Protocol{api.UDP}, LocalPort: 7778, PublicPort: 30001},
		}},
	}
	p.start()
	p.connect()
	p.reload()
	p.loseServer()
	p.loseClient()
	p.restart()
}

// start creates the instance: it listens on its control port, and on nothing else yet.
func (p *pair) start() {
	p.Helper()
	i, created, err := p.manager.Create(p.Context(), api.CreateInstance{ServerID: "one", InstanceSpec: p.spec}, client.CreateOptions{})
	if err != nil || !created || i.Status != api.StatusInactive {
		p.Fatalf("%v, created %v, %s %+v", err, created, i.Status, i.Conditions)
	}
	if !p.open(api.TCP, i.RatholePort) || p.open(api.TCP, 30000) || p.open(api.UDP, 30000) {
		p.Error("it shall listen on its control port, and on no public port")
	}
}

// connect hands the config to the agent, and waits until both sides call the tunnel up.
func (p *pair) connect() {
	p.Helper()
	cfg, err := p.manager.ClientConfig(p.Context(), "one", "")
	if err != nil {
		p.Fatal(err)
	}
	if _, err := p.agent.Configure(p.Context(), "one", cfg.Config, false); err != nil {
		p.Fatal(err)
	}
	p.becomes(api.StatusHealthy, api.ClientConnected, "connected")
	wait.Eventually(p, 10*time.Second, func() error {
		c, err := p.agent.Get(p.Context(), "one")
		return errors.Join(err, says(c.Conditions, api.Connected, "connected"))
	})
	for name, svc := range p.spec.Services {
		for _, proto := range svc.Protocols {
			if !p.open(proto, svc.PublicPort) {
				p.Errorf("port %d/%s of service %s is not open", svc.PublicPort, proto, name)
			}
		}
	}
}

// reload moves one service to another port, in both halves: no process is replaced.
func (p *pair) reload() {
	p.Helper()
	server, client := p.pids()
	p.spec.Services["query"] = api.ServiceSpec{Protocols: []api.Protocol{api.UDP}, LocalPort: 7778, PublicPort: 30002}
	p.update()
	p.connect()
	if p.open(api.UDP, 30001) {
		p.Error("the port that the service had is still open")
	}
	delete(p.spec.Services, "query")
	p.update()
	p.connect()
	if p.open(api.UDP, 30002) {
		p.Error("the port of the service that was removed is still open")
	}
	if s, c := p.pids(); s != server || c != client {
		p.Errorf("processes %d and %d, were %d and %d", s, c, server, client)
	}
}

func (p *pair) update() {
	p.Helper()
	if _, err := p.manager.Update(p.Context(), "one", api.UpdateInstance{InstanceSpec: p.spec}, client.UpdateOptions{}); err != nil {
		p.Fatal(err)
	}
}

// loseServer kills the server, and steals its control port until it is missed: the client finds the next server by itself.
func (p *pair) loseServer() {
	p.Helper()
	i, err := p.manager.Get(p.Context(), "one")
	if err != nil {
		p.Fatal(err)
	}
	server, _ := p.pids()
	p.kill(server)
	var thief net.Listener
	wait.Eventually(p, 5*time.Second, func() (err error) {
		thief, err = new(net.ListenConfig).Listen(p.Context(), "tcp", p.address(i.RatholePort))
		return err
	})
	p.becomes(api.StatusDown, api.ProcessRunning, "control_port_in_use")
	if err := thief.Close(); err != nil {
		p.Fatal(err)
	}
	p.becomes(api.StatusHealthy, api.ClientConnected, "connected")
}

// loseClient takes the client away. The kernel gives up the UDP port at once; the TCP port goes on listening.
func (p *pair) loseClient() {
	p.Helper()
	if _, err := p.agent.Stop(p.Context(), "one"); err != nil {
		p.Fatal(err)
	}
	p.becomes(api.StatusDown, api.ClientConnected, "client_lost")
	wait.Eventually(p, 5*time.Second, func() error {
		if udp, tcp := p.open(api.UDP, 30000), p.open(api.TCP, 30000); udp || !tcp {
			return fmt.Errorf("open: UDP %v, TCP %v", udp, tcp)
		}
		return nil
	})
	p.connect()
}

// restart replaces both processes, whose SIGINT ends them at once.
func (p *pair) restart() {
	p.Helper()
	server, client := p.pids()
	begin := time.Now()
	if _, err := p.manager.Restart(p.Context(), "one"); err != nil {
		p.Fatal(err)
	}
	if _, err := p.agent.Restart(p.Context(), "one"); err != nil {
		p.Fatal(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		p.Errorf("two restarts took %s: the engine had to be killed", took)
	}
	p.becomes(api.StatusHealthy, api.ClientConnected, "connected")
	if s, c := p.pids(); s == server || c == client {
		p.Errorf("processes %d and %d are the old ones", s, c)
	}
}

// becomes waits until the instance has a status, and one of its conditions a reason.
func (p *pair) becomes(status api.Status, condition, reason string) {
	p.Helper()
	wait.Eventually(p, 20*time.Second, func() error {
		i, err := p.manager.Get(p.Context(), "one")
		if err == nil && i.Status != status {
			err = fmt.Errorf("status %s: %+v", i.Status, i.Conditions)
		}
		return errors.Join(err, says(i.Conditions, condition, reason))
	})
}

func says(conditions []api.Condition, kind, reason string) error {
	if slices.ContainsFunc(conditions, func(c api.Condition) bool { return c.Type == kind && c.Reason == reason }) {
		return nil
	}
	return fmt.Errorf("%s is not %s: %+v", kind, reason, conditions)
}

// pids are the processes of server and client, as the services name them.
func (p *pair) pids() (server, client int) {
	p.Helper()
	i, err := p.manager.Get(p.Context(), "one")
	if err != nil {
		p.Fatal(err)
	}
	c, err := p.agent.Get(p.Context(), "one")
	if err != nil {
		p.Fatal(err)
	}
	for pid, conditions := range map[*int][]api.Condition{&server: i.Conditions, &client: c.Conditions} {
		if _, err := fmt.Sscanf(conditions[0].Message, "rathole runs as process %d", pid); err != nil {
			p.Fatalf("%q: %v", conditions[0].Message, err)
		}
	}
	return server, client
}

func (p *pair) kill(pid int) {
	p.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		p.Fatal(err)
	}
}

func (p *pair) address(port int) string {
	return netip.AddrPortFrom(p.manager.Bind, uint16(port)).String()
}

// open tells whether somebody listens on a port of the instance's.
func (p *pair) open(proto api.Protocol, port int) bool {
	p.Helper()
	found, err := sockets.List(p.Context(), sockets.Query{Protocol: proto, LocalPorts: []api.PortRange{{Start: port, End: port}}})
	if err != nil {
		p.Fatal(err)
	}
	return slices.ContainsFunc(found, func(s sockets.Socket) bool {
		return s.Local.Addr() == p.manager.Bind && (s.State == sockets.Listen || proto == api.UDP)
	})
}

// TestRefusals holds the two to the same answers where there is nothing to run.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, engine := range map[string]string{"real": testkit.Rathole(t), "stand-in": fakeengine.Build(t)} {
		for args, code := range map[string]int{"-x": 2, "-s /nowhere/server.toml": 1, "-c /nowhere/client.toml": 1} {
			t.Run(name+" "+args, func(t *testing.T) {
				t.Parallel()
				var exit *exec.ExitError
				err := exec.CommandContext(t.Context(), engine, strings.Fields(args)...).Run()
				if !errors.As(err, &exit) || exit.ExitCode() != code {
					t.Errorf("%v, want exit code %d", err, code)
				}
			})
		}
	}
}
