package testkit

import (
	"net/http"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// Scrape is what Prometheus would get of a service's metrics.
type Scrape struct {
	Text     string
	Families map[string]*dto.MetricFamily
}

// Scrape reads a service's metrics.
func (r *Running) Scrape(t testing.TB) Scrape {
	t.Helper()
	got := Curl(t, http.MethodGet, r.URL+api.PathMetrics, "", "Authorization: Bearer "+Token)
	if got.Status != http.StatusOK {
		t.Fatalf("scrape %s: %d %s", r.URL, got.Status, got.Body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(got.Body))
	if err != nil {
		t.Fatalf("scrape %s: %v", r.URL, err)
	}
	return Scrape{got.Body, families}
}

// Value is the value of the one series of a name that has these labels, given as name=value; false if there is none.
func (s Scrape) Value(t testing.TB, name string, labels ...string) (float64, bool) {
	t.Helper()
	var found []*dto.Metric
	for _, m := range s.Families[name].GetMetric() {
		has := map[string]bool{}
		for _, l := range m.GetLabel() {
			has[l.GetName()+"="+l.GetValue()] = true
		}
		wanted := true
		for _, l := range labels {
			wanted = wanted && has[l]
		}
		if wanted {
			found = append(found, m)
		}
	}
	if len(found) > 1 {
		t.Fatalf("%d series of %s have the labels %v", len(found), name, labels)
	}
	if len(found) == 0 {
		return 0, false
	}
	switch m := found[0]; {
	case m.Gauge != nil:
		return m.Gauge.GetValue(), true
	case m.Counter != nil:
		return m.Counter.GetValue(), true
	case m.Histogram != nil:
		return float64(m.Histogram.GetSampleCount()), true
	}
	t.Fatalf("%s is of a type that is not expected", name)
	return 0, false
}

// Must is Value of a series that there must be.
func (s Scrape) Must(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	v, ok := s.Value(t, name, labels...)
	if !ok {
		t.Fatalf("there is no %s%v", name, labels)
	}
	return v
}
