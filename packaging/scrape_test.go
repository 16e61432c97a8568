// Package packaging_test keeps what is shipped beside the programs true: each metric that an alert, the dashboard or a page
// names is in a real scrape, and unit files and the like are what their readers take.
package packaging_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/satishost/terraform-provider-rathole/agent"
	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

const (
	readmeFile = "../README.md"
	guideFile  = "../docs/guides/monitoring.md"
)

// world is a manager and an agent that are in touch, with a tunnel to a game that answers.
func world(t *testing.T, omit bool) (*testkit.Manager, *testkit.Agent) {
	t.Helper()
	m := testkit.StartManager(t, func(c *manager.Config) { c.OmitUnitMetrics = omit })
	a := testkit.StartAgent(t, func(c *agent.Config) {
		c.Managers = []string{m.Bind.String(), m.Addr.Addr().String()}
		c.ManagerPort, c.OmitUnitMetrics = int(m.Addr.Port()), omit
	})
	game := testkit.StartGame(t, "game", 30000)
	create := api.CreateInstance{ServerID: "one", InstanceSpec: api.InstanceSpec{HostIP: game.Host.String(), Services: map[string]api.ServiceSpec{
		"game": {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: 30000, PublicPort: 30000},
	}}}
	if _, _, err := m.Create(t.Context(), create, client.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cfg, err := m.ClientConfig(t.Context(), "one", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Configure(t.Context(), "one", cfg.Config, false); err != nil {
		t.Fatal(err)
	}
	if up, err := m.Wait(t.Context(), "one", api.StatusHealthy, 10*time.Second); err != nil || up.Status != api.StatusHealthy {
		t.Fatalf("%v: %+v", err, up)
	}
	if up, err := a.Wait(t.Context(), "one", api.StatusHealthy, 10*time.Second); err != nil || up.Status != api.StatusHealthy {
		t.Fatalf("%v: %+v", err, up)
	}
	if _, err := m.Probe(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 10*time.Second, func() error {
		_, known := a.Scrape(t).Value(t, "rathole_agent_manager_round_trip_seconds", "manager=127.0.0.1")
		if !known {
			return os.ErrNotExist
		}
		return nil
	})
	return m, a
}

// TestMetrics reads the metrics of two services at work, lints them as `promtool check metrics` does, and looks for all that
// is named anywhere, and for all that is there and named nowhere.
func TestMetrics(t *testing.T) {
	t.Parallel()
	m, a := world(t, false)
	of := map[string]testkit.Scrape{"manager": m.Scrape(t), "agent": a.Scrape(t)}
	exists := map[string]bool{}
	for service, s := range of {
		problems, err := promlint.New(strings.NewReader(s.Text)).Lint()
		if err != nil {
			t.Errorf("%s: %v", service, err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s: %s", service, p.Metric, p.Text)
		}
		for name, f := range s.Families {
			exists[name] = len(f.GetMetric()) > 0
		}
	}

	t.Run("alerts", func(t *testing.T) {
		t.Parallel()
		for _, rule := range alerts(t) {
			names := metricNames(rule.Expr)
			if len(names) == 0 && !strings.HasPrefix(rule.Expr, "up{") {
				t.Errorf("%s names no metric", rule.Alert)
			}
			mustExist(t, rule.Alert, exists, names)
		}
	})
	t.Run("dashboard", func(t *testing.T) {
		t.Parallel()
		queries := dashboardQueries(t)
		if len(queries) < 30 {
			t.Errorf("the dashboard asks only %d times", len(queries))
		}
		for _, q := range queries {
			mustExist(t, q, exists, metricNames(q))
		}
	})
	t.Run("pages", func(t *testing.T) {
		t.Parallel()
		var documented []string
		for _, page := range []string{readmeFile, guideFile} {
			names := named(t, page)
			mustExist(t, page, exists, names)
			documented = append(documented, names...)
		}
		for name := range exists {
			if strings.HasPrefix(name, "rathole_") && !slices.Contains(documented, name) {
				t.Errorf("%s is described nowhere", name)
			}
		}
	})
	t.Run("values", func(t *testing.T) {
		t.Parallel()
		mustAgree(t, of["manager"], of["agent"])
	})
}

func mustExist(t *testing.T, where string, exists map[string]bool, names []string) {
	t.Helper()
	for _, name := range names {
		if !exists[family(name)] && !exists[name] {
			t.Errorf("%s: there is no metric %s", where, name)
		}
	}
}

// named are the metrics that a page names.
func named(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, found := range regexp.MustCompile("`((?:rathole|process)_[a-z0-9_]+)(?:\\{[^`]*)?`").FindAllStringSubmatch(string(text), -1) {
		// rathole_instance and the like are Terraform's.
		if terraform := regexp.MustCompile(`^rathole_(instances?|manager|client_config|instance_(restart|rotate_secret|probe))$`); !terraform.MatchString(found[1]) {
			names = append(names, found[1])
		}
	}
	if len(names) < 5 {
		t.Fatalf("%s names only the metrics %v", page, names)
	}
	return names
}

// mustAgree checks the values that one connected tunnel gives.
func mustAgree(t *testing.T, m, a testkit.Scrape) {
	t.Helper()
	one := "server_id=one"
	for _, want := range []struct {
		scrape testkit.Scrape
		name   string
		labels []string
		value  float64
	}{
		{m, "rathole_manager_instances", []string{"status=healthy"}, 1},
		{m, "rathole_manager_instances", []string{"status=down"}, 0},
		{m, "rathole_manager_instance_status", []string{one, "status=healthy"}, 1},
		{m, "rathole_manager_instance_process_running", []string{one}, 1},
		{m, "rathole_manager_instance_client_connected", []string{one}, 1},
		{m, "rathole_manager_instance_ports_listening", []string{one}, 1},
		{m, "rathole_manager_instance_restarts_total", []string{one}, 0},
		{m, "rathole_manager_ports", []string{"kind=control", "range=10000-20000"}, 10001},
		{m, "rathole_manager_ports_allocated", []string{"kind=control", "range=10000-20000"}, 1},
		{m, "rathole_manager_ports_allocated", []string{"kind=public", "range=20001-32767"}, 1},
		{m, "rathole_manager_probe_success", []string{one, "service=game"}, 1},
		{m, "rathole_engines", []string{"state=running"}, 1},
		{m, "rathole_ready", []string{"component=manager"}, 1},
		{m, "rathole_events_total", []string{"type=created"}, 1},
		{m, "rathole_engine_restarts_total", []string{"reason=exited"}, 0},
		{a, "rathole_agent_clients", []string{"status=healthy"}, 1},
		{a, "rathole_agent_client_process_running", []string{one}, 1},
		{a, "rathole_agent_client_connected", []string{one}, 1},
		{a, "rathole_agent_client_local_reachable", []string{one}, 1},
		{a, "rathole_agent_manager_up", []string{"manager=127.0.0.1"}, 1},
		{a, "rathole_build_info", []string{"component=agent", "version=test", "engine_version=0.5.0"}, 1},
	} {
		if want.name == "rathole_manager_ports_allocated" && want.labels[0] == "kind=public" {
			want.labels[1] = publicRange(t, m)
		}
		if got := want.scrape.Must(t, want.name, want.labels...); got != want.value {
			t.Errorf("%s%v is %v, want %v", want.name, want.labels, got, want.value)
		}
	}
	for _, rtt := range []float64{
		m.Must(t, "rathole_manager_instance_client_rtt_seconds", one), a.Must(t, "rathole_agent_client_server_rtt_seconds", one),
		a.Must(t, "rathole_agent_control_rtt_seconds"), a.Must(t, "rathole_agent_manager_round_trip_seconds", "manager=127.0.0.1"),
	} {
		if rtt <= 0 || rtt > 5 {
			t.Errorf("a round trip of %v s", rtt)
		}
	}
	for _, name := range []string{"rathole_agent_control_last_success_timestamp_seconds", "rathole_agent_manager_last_success_timestamp_seconds"} {
		labels := []string{"manager=127.0.0.1"}
		if strings.Contains(name, "control") {
			labels = nil
		}
		at := a.Must(t, name, labels...)
		if age := time.Since(time.UnixMilli(int64(at * 1000))); age < -time.Second || age > time.Minute {
			t.Errorf("%s is %s ago", name, age)
		}
	}
}

// publicRange is the label of the range that port 30000 lies in: the API's port, which is any, cuts a range in two.
func publicRange(t *testing.T, m testkit.Scrape) string {
	t.Helper()
	for _, series := range m.Families["rathole_manager_ports"].GetMetric() {
		for _, l := range series.GetLabel() {
			if l.GetName() != "range" {
				continue
			}
			r, err := manager.ParseRanges(l.GetValue())
			if err == nil && r[0].Start <= 30000 && 30000 <= r[0].End {
				return "range=" + l.GetValue()
			}
		}
	}
	t.Fatal("no range has port 30000")
	return ""
}

// TestMetricsWithoutInstances: the sums stay, the series of single instances go.
func TestMetricsWithoutInstances(t *testing.T) {
	t.Parallel()
	m, a := world(t, true)
	for _, s := range []testkit.Scrape{m.Scrape(t), a.Scrape(t)} {
		if strings.Contains(s.Text, "server_id=") {
			t.Error("an instance is shown by itself")
		}
	}
	if m.Scrape(t).Must(t, "rathole_manager_instances", "status=healthy") != 1 || a.Scrape(t).Must(t, "rathole_agent_clients", "status=healthy") != 1 {
		t.Error("the sums are gone")
	}
}
