package manager_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

func TestConfigSaysWhatCannotWork(t *testing.T) {
	t.Parallel()
	ranges := func(text string) []api.PortRange {
		r, err := manager.ParseRanges(text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for name, tc := range map[string]struct {
		change func(*manager.Config)
		want   []string // parts of the sentence; none: it works
	}{
		"the guide's ports":              {change: func(*manager.Config) {}},
		"control ports backwards":        {func(c *manager.Config) { c.Control = ranges("20000-10000") }, []string{"start at 20000 and end at 10000", "swap"}},
		"control ports beyond 65535":     {func(c *manager.Config) { c.Control = ranges("60000-70000") }, []string{"60000-70000", "1-65535"}},
		"control ports twice":            {func(c *manager.Config) { c.Control = ranges("10000-11000,10500-12000") }, []string{"10000-11000", "10500-12000", "RATHOLE_PORTS"}},
		"API port among control ports":   {func(c *manager.Config) { c.APIPort = 10500 }, []string{"API's port 10500", "control ports 10000-20000", "RATHOLE_LISTEN"}},
		"API port among public ports":    {func(c *manager.Config) { c.Public = ranges("7000-8000") }, []string{"API's port 7001", "public ports 7000-8000", "RATHOLE_PUBLIC_PORTS"}},
		"public ports over control":      {func(c *manager.Config) { c.Public = ranges("19000-21000") }, []string{"public ports 19000-21000", "control ports 10000-20000", "RATHOLE_PUBLIC_PORTS"}},
		"public ports backwards":         {func(c *manager.Config) { c.Public = ranges("31000-30000") }, []string{"public ports start at 31000", "swap"}},
		"public ports of several ranges": {func(c *manager.Config) { c.Public = ranges("30000-31000, 25000") }, nil},
		"no public host":                 {func(c *manager.Config) { c.PublicHost = "" }, []string{"RATHOLE_PUBLIC_HOST is not set"}},
		"public host that nobody dials":  {func(c *manager.Config) { c.PublicHost = "0.0.0.0" }, []string{"RATHOLE_PUBLIC_HOST is 0.0.0.0"}},
		"public host that is no name":    {func(c *manager.Config) { c.PublicHost = "vps_1/x" }, []string{"RATHOLE_PUBLIC_HOST", "vps_1/x"}},
		"probes without a pause":         {func(c *manager.Config) { c.ProbeInterval = time.Second }, []string{"RATHOLE_PROBE_INTERVAL is 1s", "10s or more"}},
		"probes that turn back time":     {func(c *manager.Config) { c.ProbeInterval = -time.Hour }, []string{"RATHOLE_PROBE_INTERVAL is -1h0m0s"}},
		"probes every ten seconds":       {func(c *manager.Config) { c.ProbeInterval = 10 * time.Second }, nil},
		"loopback needs no public host": {func(c *manager.Config) {
			c.Bind, c.PublicHost = netip.MustParseAddr("127.0.0.1"), ""
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := manager.Config{APIPort: 7001, PublicHost: "vps.example.org", Log: wait.Logger(t)}
			tc.change(&c)
			err := c.Check()
			if len(tc.want) == 0 && err != nil {
				t.Fatalf("refused: %v", err)
			}
			for _, part := range tc.want {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("error %v does not say %q", err, part)
				}
			}
		})
	}
}

func TestDefaultPublicPortsLeaveOutWhatIsTaken(t *testing.T) {
	t.Parallel()
	c := manager.Config{APIPort: 7001, PublicHost: "vps", Log: wait.Logger(t)}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	want := []api.PortRange{{Start: 1024, End: 7000}, {Start: 7002, End: 9999}, {Start: 20001, End: 65535}}
	if len(c.Public) != len(want) || c.Public[0] != want[0] || c.Public[1] != want[1] || c.Public[2] != want[2] {
		t.Errorf("public ports %v, want %v", c.Public, want)
	}
}

func TestParseRangesRefusesWhatIsNoRange(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "a", "1-", "-5", "1-2-3", "1,,2"} {
		if got, err := manager.ParseRanges(text); err == nil {
			t.Errorf("ParseRanges(%q) = %v", text, got)
		}
	}
}
