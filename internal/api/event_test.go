package api_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// TestEventsAreDocumented wants every type of events in the README, and every reason of a restart in the guide on metrics.
func TestEventsAreDocumented(t *testing.T) {
	t.Parallel()
	mention := func(path string, words ...string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range words {
			if !strings.Contains(string(text), "`"+word+"`") {
				t.Errorf("%s does not mention %s", path, word)
			}
		}
	}
	var types []string
	for _, e := range api.EventTypes() {
		types = append(types, string(e))
	}
	mention("../../README.md", types...)
	mention("../../docs/guides/monitoring.md", api.RestartReasons()...)
	for _, list := range [][]string{types, api.RestartReasons()} {
		if slices.Sort(list); len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("%v has one of them twice", list)
		}
	}
}
