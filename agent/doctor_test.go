package agent_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/agent"
	"github.com/satishost/terraform-provider-rathole/internal/doctor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
)

func TestDoctorNamesTroubleWithManagersAndTargets(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg     agent.Config
		retries string // net.ipv4.tcp_syn_retries
		check   string
		status  doctor.Status
		says    string
	}{
		"any manager":         {agent.Config{}, "3", "managers", doctor.Warn, "RATHOLE_INSTANCE_MANAGER_HOST"},
		"a name":              {agent.Config{Managers: []string{"vps.example.org"}}, "3", "managers", doctor.OK, "vps.example.org"},
		"an address":          {agent.Config{Managers: []string{"192.0.2.1"}}, "3", "managers", doctor.OK, "dials by name is refused"},
		"an unknown name":     {agent.Config{Managers: []string{"192.0.2.1", "vsp.example.org"}}, "3", "managers", doctor.Fail, "vsp.example.org does not resolve"},
		"no name at all":      {agent.Config{Managers: []string{"vps_1!"}}, "3", "managers", doctor.Fail, `"vps_1!"`},
		"this machine":        {agent.Config{}, "3", "allowed targets", doctor.OK, "this machine"},
		"a network":           {agent.Config{Targets: []string{"172.18.0.0/16"}}, "3", "allowed targets", doctor.OK, "172.18.0.0/16"},
		"every address":       {agent.Config{Targets: []string{"0.0.0.0/0"}}, "3", "allowed targets", doctor.Warn, "every address"},
		"a broken network":    {agent.Config{Targets: []string{"10.0.0.0/99"}}, "3", "allowed targets", doctor.Fail, "10.0.0.0/99"},
		"a stopped neighbour": {agent.Config{Targets: []string{"factorio"}}, "3", "allowed targets", doctor.Warn, "factorio does not resolve"},
		"quick to give up":    {agent.Config{}, "3", "reconnecting", doctor.OK, "= 3"},
		"slow to give up":     {agent.Config{}, "6", "reconnecting", doctor.Warn, "sysctl -w net.ipv4.tcp_syn_retries=3"},
		"retries unreadable":  {agent.Config{}, "", "reconnecting", doctor.Warn, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sys := doctor.This()
			sys.ReadFile = func(string) ([]byte, error) { return []byte(tc.retries + "\n"), nil }
			sys.Lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
				if host == "vps.example.org" {
					return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
				}
				return nil, errors.New("no such host")
			}
			findings := agent.Doctor(t.Context(), sys, doctor.Settings{State: t.TempDir(), Listen: "127.0.0.1:0", UIDs: "0"}, tc.cfg)
			f := found(t, findings, tc.check)
			if f.Status != tc.status || !strings.Contains(f.Value+" | "+f.Mend, tc.says) {
				t.Errorf("%+v, wanted %s with %q", f, tc.status, tc.says)
			}
		})
	}
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

// TestDoctorOnThisMachine asks the real one.
func TestDoctorOnThisMachine(t *testing.T) {
	t.Parallel()
	state := testkit.StateDir(t)
	findings := agent.Doctor(t.Context(), doctor.This(),
		doctor.Settings{State: state, Logs: state + "/log", Listen: "127.0.0.1:0", UIDs: "0"},
		agent.Config{Managers: []string{"localhost"}, Binary: testkit.Rathole(t)})
	for _, f := range findings {
		if f.Status == doctor.Fail {
			t.Errorf("%+v", f)
		}
	}
}
