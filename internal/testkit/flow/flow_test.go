package flow_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/flow"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

func startGame(t *testing.T) string {
	t.Helper()
	host := testkit.Address(t)
	g, err := flow.StartGame(host, 30000)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Stop)
	return fmt.Sprintf("%s:30000", host)
}

// TestBrokenTunnels is why a clean report can be believed: each thing that a tunnel may do wrong is told, by its name.
func TestBrokenTunnels(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		network string
		wrong   fault
		want    flow.Report
		says    string
	}{
		"tcp clean":      {"tcp", none, flow.Report{}, ""},
		"udp clean":      {"udp", none, flow.Report{}, ""},
		"tcp loss":       {"tcp", drop, flow.Report{Lost: 1}, "message 5"},
		"udp loss":       {"udp", drop, flow.Report{Lost: 1}, "message 5"},
		"tcp cut":        {"tcp", cut, flow.Report{Broken: 1}, "closed by the other end"},
		"udp port gone":  {"udp", cut, flow.Report{Broken: 1}, "refused"},
		"tcp order":      {"tcp", swap, flow.Report{Reordered: 1}, "message 5 comes after message 6"},
		"udp order":      {"udp", swap, flow.Report{Reordered: 1}, "message 5 comes after message 6"},
		"udp twice":      {"udp", twice, flow.Report{Reordered: 1}, "twice"},
		"tcp damage":     {"tcp", damage, flow.Report{Reordered: 1, Lost: 1}, "damaged"},
		"udp damage":     {"udp", damage, flow.Report{Reordered: 1, Lost: 1}, "damaged"},
		"udp new player": {"udp", move, flow.Report{Moved: 1}, "the game sees 127."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startTunnel(t, tc.network, startGame(t), tc.wrong)
			cfg := flow.Config{Targets: []string{p.address}, Rate: 5 * time.Millisecond, Settle: 500 * time.Millisecond}
			if tc.network == "tcp" {
				cfg.TCP = 1
			} else {
				cfg.UDP = 1
			}
			checker := flow.Start(t.Context(), cfg)
			enough := int32(20)
			if tc.wrong == cut {
				enough = 5
			}
			wait.Eventually(t, 10*time.Second, func() error {
				if n := p.passed.Load(); n < enough {
					return fmt.Errorf("%d answers", n)
				}
				return nil
			})
			if tc.wrong == cut && tc.network == "udp" {
				mustBreak(t, checker)
			}
			got := checker.Stop()
			if got.Broken != tc.want.Broken || got.Lost != tc.want.Lost || got.Reordered != tc.want.Reordered || got.Moved != tc.want.Moved {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if got.Clean() != (tc.wrong == none) || !strings.Contains(strings.Join(got.Findings, "\n"), tc.says) {
				t.Errorf("the report does not say %q: %s", tc.says, got)
			}
			if tc.wrong == none && (got.Sent < 20 || got.LongestGap <= 0 || got.LongestGap > 5*time.Second) {
				t.Errorf("of a clean tunnel: %s", got)
			}
		})
	}
}

// mustBreak waits until a flow has noticed.
func mustBreak(t *testing.T, c *flow.Checker) {
	t.Helper()
	wait.Eventually(t, 5*time.Second, func() error {
		if c.Broken() == 0 {
			return fmt.Errorf("no flow is broken")
		}
		return nil
	})
}

// TestNobodyThere wants a target without a tunnel to be told, not waited for.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	c := flow.Start(t.Context(), flow.Config{Targets: []string{free.Addr().String()}, TCP: 2})
	wait.Eventually(t, 5*time.Second, func() error {
		if c.Broken() != 2 {
			return fmt.Errorf("%d flows are broken", c.Broken())
		}
		return nil
	})
	if got := c.Stop(); got.Broken != 2 || got.Flows != 2 {
		t.Errorf("%s", got)
	}
}

// TestPause wants the time for which a tunnel was silent.
func TestPause(t *testing.T) {
	t.Parallel()
	game := startGame(t)
	p := startTunnel(t, "udp", game, none)
	c := flow.Start(t.Context(), flow.Config{Targets: []string{p.address}, UDP: 1, Rate: 5 * time.Millisecond, Settle: 500 * time.Millisecond})
	wait.Eventually(t, 5*time.Second, func() error {
		if p.passed.Load() < 10 {
			return fmt.Errorf("%d answers", p.passed.Load())
		}
		return nil
	})
	p.mute.Store(true)
	begin := time.Now()
	muted := p.passed.Load()
	wait.Eventually(t, 5*time.Second, func() error {
		if time.Since(begin) < 300*time.Millisecond {
			return fmt.Errorf("still muted after %d answers", muted)
		}
		return nil
	})
	p.mute.Store(false)
	wait.Eventually(t, 5*time.Second, func() error {
		if p.passed.Load() < muted+10 {
			return fmt.Errorf("%d answers", p.passed.Load())
		}
		return nil
	})
	if got := c.Stop(); got.LongestGap < 250*time.Millisecond || got.Lost == 0 {
		t.Errorf("after a pause of 300 ms: %s", got)
	}
}
