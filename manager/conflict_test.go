package manager_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/manager"
)

func one(id string, port int, protocols ...api.Protocol) api.CreateInstance {
	return api.CreateInstance{ServerID: id, InstanceSpec: api.InstanceSpec{Services: map[string]api.ServiceSpec{
		"game": {Protocols: protocols, LocalPort: 7777, PublicPort: port},
	}}}
}

func mustCreate(t *testing.T, m *testkit.Manager, req api.CreateInstance) api.Instance {
	t.Helper()
	i, created, err := m.Create(t.Context(), req, client.CreateOptions{})
	if err != nil || !created {
		t.Fatalf("create %s: %v, created %v", req.ServerID, err, created)
	}
	return i
}

func mustConflict(t *testing.T, err error, kind, owner string) {
	t.Helper()
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != api.CodePortInUse || p.Owner == nil || p.Owner.Kind != kind {
		t.Fatalf("got %v, want port_in_use by an %s", err, kind)
	}
	if !strings.Contains(p.Detail, owner) || p.Owner.ServerID+p.Owner.Program == "" {
		t.Errorf("the conflict does not name %s: %s (%+v)", owner, p.Detail, p.Owner)
	}
}

func TestPortOfAnotherInstance(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	mustCreate(t, m, one("first", 30000, api.TCP))
	_, _, err := m.Create(t.Context(), one("second", 30000, api.TCP, api.UDP), client.CreateOptions{})
	mustConflict(t, err, api.OwnerInstance, "first")
	if _, err := m.Get(t.Context(), "second"); !client.IsNotFound(err) {
		t.Errorf("the refused instance exists: %v", err)
	}
	// The other protocol of the same number is another port.
	mustCreate(t, m, one("second", 30000, api.UDP))
	// In a dry run, an instance that is being replaced gives its ports up.
	if _, _, err := m.Create(t.Context(), one("third", 30000, api.TCP), client.CreateOptions{DryRun: true, Replaces: "first"}); err != nil {
		t.Errorf("dry run that replaces the owner: %v", err)
	}
	_, _, err = m.Create(t.Context(), one("third", 30000, api.TCP), client.CreateOptions{DryRun: true})
	mustConflict(t, err, api.OwnerInstance, "first")
	// What is deleted is free at once.
	if err := m.Delete(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, m, one("third", 30000, api.TCP))
}

// TestPortOfAnotherProgram holds ports of both protocols and families by this very test program.
func TestPortOfAnotherProgram(t *testing.T) {
	t.Parallel()
	if !hasIPv6() {
		t.Log("this machine has no IPv6: its cases are those of IPv4")
	}
	for name, tc := range map[string]struct {
		bind string // empty: the kit's own address
		hold string // %s is the manager's own address
		want bool   // a conflict
	}{
		"the same address":      {hold: "tcp4 %s", want: true},
		"the same address, UDP": {hold: "udp4 %s", want: true},
		"every IPv4 address":    {hold: "tcp4 0.0.0.0", want: true},
		"every address, UDP":    {hold: "udp [::]", want: true},
		"another address":       {hold: "tcp4 127.0.0.9", want: false},
		"every address wanted":  {bind: "::", hold: "tcp4 127.0.0.9", want: true},
		"IPv6 wanted":           {bind: "::", hold: "tcp6 [::1]", want: true},
		"IPv6 wanted, UDP":      {bind: "::", hold: "udp6 [::1]", want: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := testkit.StartManager(t, func(c *manager.Config) {
				if tc.bind != "" {
					c.Bind, c.PublicHost = netip.MustParseAddr(tc.bind), "127.0.0.1"
					c.Control = []api.PortRange{{Start: 19000, End: 19999}}
				}
			})
			network, host, _ := strings.Cut(tc.hold, " ")
			if strings.Contains(host, "%s") {
				host = fmt.Sprintf(host, m.Bind)
			}
			port := hold(t, network, host)
			proto := api.Protocol(network[:3])
			for _, dry := range []bool{true, false} {
				_, _, err := m.Create(t.Context(), one("one", port, proto), client.CreateOptions{DryRun: dry})
				if !tc.want {
					if err != nil {
						t.Errorf("dry run %v: %v", dry, err)
					}
					continue
				}
				mustConflict(t, err, api.OwnerProgram, fmt.Sprintf("pid %d", os.Getpid()))
			}
		})
	}
}

// TestReplacementInFullRanges: what makes place counts as free in a dry run, also where a port is left to the manager.
func TestReplacementInFullRanges(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, func(c *manager.Config) {
		c.Control = []api.PortRange{{Start: 15000, End: 15000}}
		c.Public = []api.PortRange{{Start: 30000, End: 30000}, {Start: 30002, End: 30002}}
	})
	mustCreate(t, m, one("old", 0, api.UDP))
	dry := client.CreateOptions{DryRun: true}
	mustBeFull := func(what string) {
		t.Helper()
		if _, _, err := m.Create(t.Context(), one("new", 0, api.UDP), dry); !client.HasCode(err, api.CodePortsExhausted) || !strings.Contains(err.Error(), what) {
			t.Errorf("with no %s port left: %v", what, err)
		}
	}
	replaces := client.CreateOptions{DryRun: true, Replaces: "old"}
	mustBeFull("control")
	if inst, _, err := m.Create(t.Context(), one("new", 0, api.UDP), replaces); err != nil || inst.RatholePort != 15000 {
		t.Errorf("in place of the holder of the one control port: %+v, %v", inst, err)
	}
	two := one("old", 0, api.UDP).InstanceSpec
	two.Services["query"] = api.ServiceSpec{Protocols: []api.Protocol{api.UDP}, LocalPort: 7778}
	if _, err := m.Update(t.Context(), "old", api.UpdateInstance{InstanceSpec: two}, client.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	mustBeFull("public")
	if inst, _, err := m.Create(t.Context(), one("new", 0, api.UDP), replaces); err != nil || inst.Services["game"].PublicPort == 0 {
		t.Errorf("in place of the holder of all public ports: %+v, %v", inst, err)
	}
	// It is a dry run: nothing was taken, and nothing given away.
	if _, _, err := m.Create(t.Context(), one("new", 0, api.UDP), client.CreateOptions{}); !client.HasCode(err, api.CodePortsExhausted) {
		t.Errorf("beside the holder of all ports: %v", err)
	}
}

func hasIPv6() bool {
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = ln.Close()
	return true
}

// hold takes a port that the kernel chooses and returns it.
func hold(t *testing.T, network, host string) int {
	t.Helper()
	if strings.HasPrefix(network, "udp") {
		conn, err := net.ListenPacket(network, host+":0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn.LocalAddr().(*net.UDPAddr).Port
	}
	ln, err := net.Listen(network, host+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln.Addr().(*net.TCPAddr).Port
}

func TestControlPortsOfOthersArePassedOver(t *testing.T) {
	t.Parallel()
	var taken net.Listener
	m := testkit.StartManager(t, func(c *manager.Config) {
		c.Control = []api.PortRange{{Start: 15000, End: 15001}, {Start: 16000, End: 16000}}
		var err error
		taken, err = net.Listen("tcp4", netip.AddrPortFrom(c.Bind, 15000).String())
		if err != nil {
			t.Fatal(err)
		}
	})
	defer func() { _ = taken.Close() }()
	first, second := mustCreate(t, m, one("a", 0, api.UDP)), mustCreate(t, m, one("b", 0, api.UDP))
	if first.RatholePort != 15001 || second.RatholePort != 16000 {
		t.Errorf("control ports %d and %d, want 15001 and 16000", first.RatholePort, second.RatholePort)
	}
	_, _, err := m.Create(t.Context(), one("c", 0, api.UDP), client.CreateOptions{})
	if !client.HasCode(err, api.CodePortsExhausted) || !strings.Contains(err.Error(), "RATHOLE_PORT_START") {
		t.Errorf("with no control port left: %v", err)
	}
	ports, err := m.Ports(t.Context())
	if err != nil || ports.Control.Total != 3 || ports.Control.Allocated != 2 || len(ports.Control.Uses) != 2 {
		t.Errorf("ports: %+v %v", ports.Control, err)
	}
}
