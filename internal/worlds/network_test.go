package worlds_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/again"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/flow"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/scale"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// networkTunnels is how many tunnels go over the cable.
const networkTunnels = 3

// network is a VPS with a manager, which is this process, and a game host behind a cable.
type network struct {
	name    string // by which the host knows the VPS
	manager *testkit.Manager
	host    *host
	ids     []string
	targets []string       // for players
	near    *testkit.Agent // of a tunnel that does not use the cable
	players *flow.Checker  // of that tunnel
}

// newNetwork makes it, in a process that is alone in its network.
func newNetwork(t *testing.T, publicHost string) *network {
	t.Helper()
	n := &network{name: publicHost, host: startHost(t), near: testkit.StartAgent(t, nil)}
	n.manager = testkit.StartManager(t, func(c *manager.Config) {
		c.Bind, c.PublicHost = netip.IPv4Unspecified(), publicHost
	})
	for i := range networkTunnels {
		id, port := fmt.Sprintf("far%d", i), 31000+i
		spec := api.ServiceSpec{Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: gamePort, PublicPort: port}
		n.connect(t, n.host.Agent, id, spec)
		n.ids = append(n.ids, id)
		n.targets = append(n.targets, fmt.Sprintf("127.0.0.1:%d", port))
	}
	mustStartGame(t, netip.MustParseAddr("127.0.0.1"), 32000)
	near := service(32001, api.TCP, api.UDP)
	near.LocalPort = 32000
	n.connect(t, n.near.Agent, bystander, near)
	n.players = flow.Start(t.Context(), flow.Config{Targets: []string{"127.0.0.1:32001"}, TCP: 1, UDP: 1})
	return n
}

func (n *network) connect(t *testing.T, a *client.Agent, id string, spec api.ServiceSpec) {
	t.Helper()
	made := api.InstanceSpec{Services: map[string]api.ServiceSpec{"game": spec}}
	if _, _, err := n.manager.Create(t.Context(), api.CreateInstance{ServerID: id, InstanceSpec: made}, client.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cfg, err := n.manager.ClientConfig(t.Context(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	if a == n.near.Agent {
		cfg.Config = strings.Replace(cfg.Config, n.name, "127.0.0.1", 1)
	}
	if _, err := a.Configure(t.Context(), id, cfg.Config, false); err != nil {
		t.Fatal(err)
	}
	mustBeHealthy(t, n.manager, id, 10*time.Second)
}

// mustTell wants the manager to name what is wrong with every tunnel over the cable.
func (n *network) mustTell(t *testing.T, reasons ...string) {
	t.Helper()
	began := time.Now()
	wait.Eventually(t, toldCut, func() error {
		for _, id := range n.ids {
			i, err := n.manager.Get(t.Context(), id)
			if err != nil {
				return err
			}
			if i.Status != api.StatusDown || len(i.Conditions) < 2 || !strings.Contains(strings.Join(reasons, " "), i.Conditions[1].Reason) {
				return fmt.Errorf("%s is %s: %+v", id, i.Status, i.Conditions)
			}
		}
		return nil
	})
	t.Logf("told after %s", time.Since(began).Round(100*time.Millisecond))
}

// mustComeBack wants every tunnel to be well and to serve new players.
func (n *network) mustComeBack(t *testing.T) {
	t.Helper()
	began := time.Now()
	wait.Eventually(t, back, func() error {
		for i, id := range n.ids {
			if err := plays(n.targets[i]); err != nil {
				return err
			}
			is, err := n.manager.Get(t.Context(), id)
			if err != nil {
				return err
			}
			c, err := n.host.Get(t.Context(), id)
			if err != nil {
				return err
			}
			if is.Status != api.StatusHealthy || c.Status != api.StatusHealthy {
				return fmt.Errorf("%s is %s: %+v, its client %s: %+v", id, is.Status, is.Conditions, c.Status, c.Conditions)
			}
		}
		return nil
	})
	t.Logf("back after %s", time.Since(began).Round(100*time.Millisecond))
}

// mustBeUntouched wants the tunnel that does not use the cable not to have noticed.
func (n *network) mustBeUntouched(t *testing.T) {
	t.Helper()
	if report := n.players.Stop(); !report.Clean() || report.Sent == 0 {
		t.Errorf("the bystander's players noticed: %s", report)
	}
	list, err := n.near.Events(t.Context(), client.EventQuery{Types: []api.EventType{api.EventHealing, api.EventRestarting}})
	if err != nil || len(list.Events) != 0 {
		t.Errorf("the bystander was healed: %v %+v", err, list.Events)
	}
}

// TestNetworkCut cuts the network between the two machines without a sign, under players: every tunnel must be told to be
// down, and be usable again within ten seconds after the network is back, without any person.
func TestNetworkCut(t *testing.T) {
	t.Parallel()
	cuts, length := scale.Of(t, "WORLDS_CUTS", 1), time.Duration(scale.Of(t, "WORLDS_CUT_SECONDS", 20))*time.Second
	if !again.In(t, "vps", again.Circumstances{Network: true, Mounts: true, Timeout: 2*time.Minute + time.Duration(cuts)*(length+30*time.Second)}) {
		return
	}
	n := newNetwork(t, vpsAddress)
	t.Run("5 s", func(t *testing.T) { // too short for anybody to give up
		heal := n.host.cut(t)
		time.Sleep(5 * time.Second) // the length of the cut
		heal()
		n.mustComeBack(t)
	})
	for range cuts {
		t.Run(length.String(), func(t *testing.T) {
			crowd := flow.Start(t.Context(), flow.Config{Targets: n.targets, TCP: 3, UDP: 3, Settle: time.Millisecond})
			heal := n.host.cut(t)
			over := time.NewTimer(length)
			n.mustTell(t, "client_silent client_lost")
			<-over.C
			heal()
			n.mustComeBack(t)
			t.Logf("players through the cut: %s", strings.SplitN(crowd.Stop().String(), "\n", 2)[0])
		})
	}
	n.mustBeUntouched(t)
}

// TestControlPortFirewalled drops what comes to the control ports, as a firewall does that was changed under way.
func TestControlPortFirewalled(t *testing.T) {
	t.Parallel()
	if !again.In(t, "vps", again.Circumstances{Network: true, Mounts: true}) {
		return
	}
	n := newNetwork(t, vpsAddress)
	// Of connections that exist the kernel would not ask the rules; and before them it asks for its own addresses.
	here(t, "echo 0 >/proc/sys/net/ipv4/tcp_early_demux")
	here(t, fmt.Sprintf("ip rule add pref 9 iif %s ipproto tcp dport 10000-20000 blackhole && ip rule add pref 10 lookup local && ip rule del pref 0", vpsDevice))
	n.mustTell(t, "client_silent client_lost")
	wait.Eventually(t, toldCut, func() error {
		for _, id := range n.ids {
			c, err := n.host.Get(t.Context(), id)
			if err != nil {
				return err
			}
			if c.Status != api.StatusDown || c.Conditions[1].Reason != "no_answer" {
				return fmt.Errorf("%+v", c)
			}
		}
		return nil
	})
	here(t, "ip rule del pref 9")
	n.mustComeBack(t)
	n.mustBeUntouched(t)
}

// TestServerMoved gives the server's name another address, while the old one still answers and when it does not.
func TestServerMoved(t *testing.T) {
	t.Parallel()
	if !again.In(t, "vps", again.Circumstances{Network: true, Mounts: true}) {
		return
	}
	names := t.TempDir() + "/hosts"
	point := func(to string) {
		t.Helper()
		if err := os.WriteFile(names, []byte("127.0.0.1 localhost\n"+to+" vps.test\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	point(vpsAddress)
	here(t, "mount --bind "+names+" /etc/hosts") // the host has a copy of these mounts
	n := newNetwork(t, "vps.test")
	moved := func() error {
		for _, id := range n.ids {
			list, err := n.host.Events(t.Context(), client.EventQuery{ServerID: id, Types: []api.EventType{api.EventHealing}})
			if err != nil {
				return err
			}
			if len(list.Events) != 1 || list.Events[0].Reason != "server_moved" {
				return fmt.Errorf("%s was not moved: %+v", id, list.Events)
			}
		}
		return nil
	}
	point(vpsNewAddress)
	wait.Eventually(t, time.Minute, moved) // after three answers, ten seconds apart
	n.mustComeBack(t)
	// Now the old address is gone without a sign.
	point(vpsAddress)
	here(t, fmt.Sprintf("ip addr del %s/24 dev %s", vpsNewAddress, vpsDevice))
	here(t, fmt.Sprintf("ip addr show dev %s | grep -q %s || ip addr add %s/24 dev %s", vpsDevice, vpsAddress, vpsAddress, vpsDevice))
	n.mustTell(t, "client_silent client_lost")
	n.mustComeBack(t)
	n.mustBeUntouched(t)
}
