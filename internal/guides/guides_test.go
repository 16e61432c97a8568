package guides_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pages are the guides, and who follows each.
func pages() map[string]func(t *testing.T, bin, page string) {
	return map[string]func(*testing.T, string, string){
		"getting-started": gettingStarted,
		"import":          importing,
		"many-servers":    manyServers,
		"migrating":       migrating,
		"monitoring":      monitoring,
		"reliability":     reliability,
		"secrets":         secrets,
		"status":          status,
		"when-half-fails": whenHalfFails,
	}
}

// TestGuides follows every guide. One that nobody follows, and a block that nobody runs, is a failure.
func TestGuides(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("../../docs/guides")
	if err != nil {
		t.Fatal(err)
	}
	all := pages()
	bin := tools(t)
	var lists [2]string
	for i, path := range []string{"../../docs/index.md", "../../README.md"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lists[i] = string(text)
	}
	var text strings.Builder
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".md")
		page, err := os.ReadFile(filepath.Join("../../docs/guides", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text.Write(page)
		for _, list := range lists {
			if !strings.Contains(list, "guides/"+e.Name()+")") {
				t.Errorf("%s is not linked from the provider's page and README.md", e.Name())
			}
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			follow, ok := all[name]
			if !ok {
				t.Fatal("nobody follows this guide")
			}
			follow(t, bin, filepath.Join("../../docs/guides", e.Name()))
		})
	}
	if len(entries) != len(all) {
		t.Errorf("%d guides are there, %d are followed", len(entries), len(all))
	}
	for command := range notRunnable {
		if !strings.Contains(text.String(), "\n$ "+command) {
			t.Errorf("no guide has the command %s", command)
		}
	}
}
