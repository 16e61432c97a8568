package packaging_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// promtool finds the program that `make test-alerts` names, or the one in PATH.
func promtool(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("PROMTOOL"); path != "" {
		return path
	}
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool in PATH; make test-alerts builds one")
	}
	return path
}

// TestPromtool has Prometheus itself read what is meant for it, and runs the alerts' own tests.
func TestPromtool(t *testing.T) {
	t.Parallel()
	program := promtool(t)
	// What a dashboard asks is PromQL too, but for the words that Grafana fills in.
	asked := filepath.Join(t.TempDir(), "dashboard.yml")
	text := "groups:\n- name: dashboard\n  rules:\n"
	for i, q := range dashboardQueries(t) {
		q = strings.NewReplacer("$__rate_interval", "5m").Replace(q)
		text += fmt.Sprintf("  - record: query%d\n    expr: |\n      %s\n", i, q)
	}
	if err := os.WriteFile(asked, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"check", "rules", "--lint-fatal", rulesFile},
		{"test", "rules", ruleTestsFile},
		{"check", "config", "--syntax-only", scrapeFile},
		{"check", "rules", asked},
	} {
		out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
