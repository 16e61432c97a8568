package packaging_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	rulesFile     = "prometheus/rathole.rules.yml"
	ruleTestsFile = "prometheus/rathole.rules.test.yml"
	scrapeFile    = "prometheus/prometheus.yml"
	dashboardFile = "grafana/rathole.json"
)

// alert is one rule of rulesFile.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func decodeYAML(t *testing.T, path string, strict bool, v any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(strict)
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string  `yaml:"name"`
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	decodeYAML(t, rulesFile, true, &file)
	var all []alert
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// TestAlertsAreWhole: each alert has its parts, and a test in which it fires.
func TestAlertsAreWhole(t *testing.T) {
	t.Parallel()
	var tests struct {
		Tests []struct {
			Alerts []struct {
				Name     string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		} `yaml:"tests"`
	}
	decodeYAML(t, ruleTestsFile, false, &tests)
	fires := map[string]bool{}
	for _, test := range tests.Tests {
		for _, a := range test.Alerts {
			fires[a.Name] = fires[a.Name] || len(a.Expected) > 0
		}
	}
	all := alerts(t)
	if len(all) < 20 {
		t.Errorf("there are only %d alerts", len(all))
	}
	var names []string
	for _, a := range all {
		if !slices.Contains([]string{"critical", "warning"}, a.Labels["severity"]) || a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s lacks severity, summary or description", a.Alert)
		}
		if !fires[a.Alert] {
			t.Errorf("%s fires in no test", a.Alert)
		}
		names = append(names, a.Alert)
	}
	for name := range fires {
		if !slices.Contains(names, name) {
			t.Errorf("%s is tested and does not exist", name)
		}
	}
}

// TestAlertsAreListed: the guide has each alert with its severity.
func TestAlertsAreListed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(guideFile)
	if err != nil {
		t.Fatal(err)
	}
	all := alerts(t)
	for _, a := range all {
		if !strings.Contains(string(page), "\n| `"+a.Alert+"` ("+a.Labels["severity"]+") |") {
			t.Errorf("%s does not list %s", guideFile, a.Alert)
		}
	}
	if n := strings.Count(string(page), "\n| `Rathole"); n != len(all) {
		t.Errorf("%s lists %d alerts, there are %d", guideFile, n, len(all))
	}
}

// TestScrapeExample: the jobs have the names that the alerts know, and no token is in the file.
func TestScrapeExample(t *testing.T) {
	t.Parallel()
	var file struct {
		RuleFiles []string `yaml:"rule_files"`
		Jobs      []struct {
			Name          string            `yaml:"job_name"`
			Authorization map[string]string `yaml:"authorization"`
		} `yaml:"scrape_configs"`
	}
	decodeYAML(t, scrapeFile, false, &file)
	if len(file.Jobs) != 2 || file.Jobs[0].Name != "rathole-manager" || file.Jobs[1].Name != "rathole-agent" || len(file.RuleFiles) != 1 {
		t.Errorf("%+v", file)
	}
	for _, job := range file.Jobs {
		if job.Authorization["credentials_file"] == "" || job.Authorization["credentials"] != "" {
			t.Errorf("%s takes no token from a file", job.Name)
		}
	}
}

// dashboardQueries are all that the dashboard asks Prometheus.
func dashboardQueries(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			ID      int    `json:"id"`
			Type    string `json:"type"`
			Title   string `json:"title"`
			GridPos struct{ X, Y, W, H int }
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatalf("%s: %v", dashboardFile, err)
	}
	var all []string
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %s asks nothing", p.Title)
		}
		if ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("the panel %s has the id of another one, or is too wide", p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	return all
}

// metricNames are those in a piece of PromQL; a word that labels may have, or a function, is none.
func metricNames(query string) []string {
	query = regexp.MustCompile(`"[^"]*"`).ReplaceAllString(query, "")
	var names []string
	for _, name := range regexp.MustCompile(`\b(?:rathole|process|go)_[a-z0-9_]+\b`).FindAllString(query, -1) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// family is the name of the family that a series of that name belongs to.
func family(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if f, ok := strings.CutSuffix(name, suffix); ok {
			return f
		}
	}
	return name
}
