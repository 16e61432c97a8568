package manager_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/doctor"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/manager"
)

const (
	ephemeralFile = "/proc/sys/net/ipv4/ip_local_port_range"
	reservedFile  = "/proc/sys/net/ipv4/ip_local_reserved_ports"
	v6OnlyFile    = "/proc/sys/net/ipv6/bindv6only"
)

// vps is a view of a made-up machine in what the manager's own checks ask, with nothing amiss.
type vps struct {
	doctor.System
	files   map[string]string
	records map[string]string // by id
	open    []sockets.Socket
}

func newVPS() *vps {
	v := &vps{System: doctor.This(), files: map[string]string{ephemeralFile: "32768\t60999\n", reservedFile: "\n", v6OnlyFile: "0\n"}}
	v.ReadFile = func(path string) ([]byte, error) {
		for id, text := range v.records {
			if strings.HasSuffix(path, "/instances/"+id+"/record.json") {
				return []byte(text), nil
			}
		}
		if text, found := v.files[path]; found {
			return []byte(text), nil
		}
		return nil, os.ErrNotExist
	}
	v.ReadDir = func(string) ([]string, error) {
		var ids []string
		for id := range v.records {
			ids = append(ids, id)
		}
		return ids, nil
	}
	v.Engine = func(context.Context, string) (rathole.Binary, error) { return rathole.Binary{}, errors.New("none") }
	v.Lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		if host == "vps.example.org" {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		}
		ip, err := netip.ParseAddr(host)
		return []netip.Addr{ip}, err
	}
	v.DualStack = func() (bool, error) { return true, nil }
	v.Bindable = func(api.Protocol, netip.AddrPort) error { return nil }
	v.Sockets = func(_ context.Context, q sockets.Query) ([]sockets.Socket, error) {
		var found []sockets.Socket
		for _, s := range v.open {
			for _, r := range q.LocalPorts {
				if port := int(s.Local.Port()); s.Protocol == q.Protocol && r.Start <= port && port <= r.End {
					found = append(found, s)
				}
			}
		}
		return found, nil
	}
	v.Holder = func(context.Context, api.Protocol, netip.AddrPort) (sockets.Owner, bool, error) {
		return sockets.Owner{PID: 812, Program: "nginx"}, true, nil
	}
	return v
}

// listens opens a port of the made-up machine.
func (v *vps) listens(p api.Protocol, addr string) {
	v.open = append(v.open, sockets.Socket{Protocol: p, Local: netip.MustParseAddrPort(addr)})
}

func found(t *testing.T, findings []doctor.Finding, check string) doctor.Finding {
	t.Helper()
	for _, f := range findings {
		if f.Check == check {
			return f
		}
	}
	t.Fatalf("no check %q in %+v", check, findings)
	return doctor.Finding{}
}

func TestDoctorNamesTroubleWithPortsAndAddresses(t *testing.T) {
	t.Parallel()
	ranges := func(text string) []api.PortRange {
		r, err := manager.ParseRanges(text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	record := func(control, public int) string {
		return fmt.Sprintf(`{"spec": {"control_port": %d, "services": {"game": {"protocols": ["tcp", "udp"], "public_port": %d}}}}`, control, public)
	}
	for name, tc := range map[string]struct {
		change func(*vps, *manager.Config)
		check  string
		status doctor.Status
		says   []string
	}{
		"nothing, of ranges":    {nil, "port ranges", doctor.OK, []string{"control 10000-20000", "public 1024-7000, 7002-9999, 20001-65535"}},
		"nothing, of addresses": {nil, "bind address", doctor.OK, []string{"[::]"}},
		"nothing, of the host":  {nil, "public host", doctor.OK, []string{"vps.example.org"}},
		"nothing, of ephemeral": {nil, "ephemeral ports", doctor.OK, []string{"32768-60999", "none of ours"}},
		"nothing, of control":   {nil, "control ports taken", doctor.OK, []string{"none of 10001"}},
		"nothing, of public":    {nil, "public ports taken", doctor.OK, []string{"none of 54510"}},

		"ranges overlap":  {func(_ *vps, c *manager.Config) { c.Public = ranges("15000-30000") }, "port ranges", doctor.Fail, []string{"15000-30000 overlap the control ports"}},
		"API port inside": {func(_ *vps, c *manager.Config) { c.Control = ranges("7000-8000") }, "port ranges", doctor.Fail, []string{"API's port 7001"}},

		"no such address": {func(v *vps, c *manager.Config) {
			c.Bind = netip.MustParseAddr("192.0.2.9")
			v.Bindable = func(api.Protocol, netip.AddrPort) error { return errors.New("cannot assign") }
		}, "bind address", doctor.Fail, []string{"192.0.2.9", "RATHOLE_BIND_ADDRESS"}},
		"separate families": {func(v *vps, _ *manager.Config) {
			v.files[v6OnlyFile] = "1"
			v.DualStack = func() (bool, error) { return false, nil }
		}, "bind address", doctor.Warn, []string{"0.0.0.0", "sysctl -w net.ipv6.bindv6only=0"}},
		"separate families, [::] asked": {func(v *vps, c *manager.Config) {
			c.Bind, v.files[v6OnlyFile] = netip.IPv6Unspecified(), "1"
			v.DualStack = func() (bool, error) { return false, nil }
		}, "bind address", doctor.Fail, []string{"IPv4 players", "sysctl -w net.ipv6.bindv6only=0", "0.0.0.0"}},
		"no IPv6": {func(v *vps, _ *manager.Config) {
			delete(v.files, v6OnlyFile)
			v.DualStack = func() (bool, error) { return false, nil }
		}, "bind address", doctor.OK, []string{"0.0.0.0", "no IPv6"}},
		"no IPv6, [::] asked": {func(v *vps, c *manager.Config) {
			c.Bind = netip.IPv6Unspecified()
			v.DualStack = func() (bool, error) { return false, nil }
		}, "bind address", doctor.Fail, []string{"no IPv6"}},

		"no public host":       {func(_ *vps, c *manager.Config) { c.PublicHost = "" }, "public host", doctor.Fail, []string{"RATHOLE_PUBLIC_HOST is not set"}},
		"unspecified host":     {func(_ *vps, c *manager.Config) { c.PublicHost = "0.0.0.0" }, "public host", doctor.Fail, []string{"nobody can dial"}},
		"host unknown":         {func(_ *vps, c *manager.Config) { c.PublicHost = "vsp.example.org" }, "public host", doctor.Warn, []string{"vsp.example.org does not resolve"}},
		"host leads to itself": {func(_ *vps, c *manager.Config) { c.PublicHost = "127.0.0.1" }, "public host", doctor.Warn, []string{"loopback"}},

		"all on loopback": {func(_ *vps, c *manager.Config) {
			c.Bind, c.PublicHost = netip.MustParseAddr("127.0.0.1"), ""
		}, "public host", doctor.OK, []string{"127.0.0.1"}},

		"chosen ports are ephemeral": {func(v *vps, c *manager.Config) {
			c.Public, v.files[reservedFile] = ranges("30000-33000,40000"), "8080,32768-32800\n"
		}, "ephemeral ports", doctor.Warn, []string{"ours: 32801-33000, 40000", "sysctl -w net.ipv4.ip_local_reserved_ports=8080,32768-32800,32801-33000,40000`"}},
		"chosen ports are reserved": {func(v *vps, c *manager.Config) {
			c.Public, v.files[reservedFile] = ranges("30000-33000"), "32768-33000\n"
		}, "ephemeral ports", doctor.OK, []string{"none of ours"}},
		"control ports are ephemeral": {func(_ *vps, c *manager.Config) { c.Control = ranges("32000-32800") }, "ephemeral ports", doctor.Warn, []string{"ours: 32768-32800"}},
		"an instance's port is ephemeral": {func(v *vps, _ *manager.Config) {
			v.records = map[string]string{"a": record(10000, 33333), "b": record(10001, 30000), "torn": "{"}
		}, "ephemeral ports", doctor.Warn, []string{"ours: 33333", "reserved_ports=33333`"}},

		"a control port is taken": {
			func(v *vps, _ *manager.Config) { v.listens(api.TCP, "0.0.0.0:10007") }, "control ports taken", doctor.Warn,
			[]string{"1 of 10001", "10007/tcp by nginx (pid 812)"},
		},
		"control ports are ours": {func(v *vps, _ *manager.Config) {
			v.records = map[string]string{"a": record(10007, 30000)}
			v.listens(api.TCP, "[::]:10007")
		}, "control ports taken", doctor.OK, []string{"none"}},
		"public ports are taken": {func(v *vps, c *manager.Config) {
			c.Public = ranges("30000-30009")
			for _, port := range []string{"30005", "30001", "30002", "30003"} {
				v.listens(api.UDP, "127.0.0.1:"+port)
			}
			v.listens(api.TCP, "0.0.0.0:30010")
		}, "public ports taken", doctor.Warn, []string{"4 of 10", "30001/udp by nginx", "30003/udp by nginx (pid 812), …"}},
		"any public port is taken": {func(v *vps, _ *manager.Config) { v.listens(api.TCP, "[::]:8080") }, "public ports taken", doctor.OK, []string{"8080/tcp by nginx"}},
		"another address's port": {func(v *vps, c *manager.Config) {
			c.Bind = netip.MustParseAddr("192.0.2.1")
			v.listens(api.TCP, "127.0.0.1:10007")
		}, "control ports taken", doctor.OK, []string{"none"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, cfg := newVPS(), manager.Config{PublicHost: "vps.example.org"}
			if tc.change != nil {
				tc.change(v, &cfg)
			}
			f := found(t, manager.Doctor(t.Context(), v.System, doctor.Settings{State: t.TempDir(), Listen: ":7001", UIDs: "0"}, cfg), tc.check)
			if f.Status != tc.status {
				t.Errorf("%+v, wanted %s", f, tc.status)
			}
			if (f.Mend == "") != (f.Status == doctor.OK) {
				t.Errorf("%+v: what is amiss has a mend, and nothing else", f)
			}
			for _, word := range tc.says {
				if !strings.Contains(f.Value+" | "+f.Mend, word) {
					t.Errorf("%+v does not say %q", f, word)
				}
			}
		})
	}
}

// TestDoctorBesideARunningManager asks the real machine: the instance's ports are known as the manager's own, a stranger's
// port is named with its program.
func TestDoctorBesideARunningManager(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	made := mustCreate(t, m, one("one", 30000, api.TCP))
	stranger, err := net.Listen("tcp", netip.AddrPortFrom(m.Bind, 10999).String())
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	findings := manager.Doctor(t.Context(), doctor.This(),
		doctor.Settings{State: m.State, Logs: m.State + "/log", Listen: m.Addr.String(), UIDs: "0"},
		manager.Config{Bind: m.Bind, Binary: testkit.Rathole(t)})
	for _, f := range findings {
		if f.Status == doctor.Fail && f.Check != "API address" { // the kit's manager takes no lock
			t.Errorf("%+v", f)
		}
	}
	taken := found(t, findings, "control ports taken")
	// The pid may be that of a child that another test has forked and that has not become its program yet.
	if !strings.Contains(taken.Value, "10999/tcp by manager.test (pid ") || strings.Contains(taken.Value, fmt.Sprint(made.RatholePort)) {
		t.Errorf("%+v", taken)
	}
	if f := found(t, findings, "state directory"); !strings.Contains(f.Value, "records: 1") {
		t.Errorf("%+v", f)
	}
}
