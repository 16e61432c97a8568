package guides_test

import (
	"path/filepath"
	"testing"
)

// pages are the guides that are followed, and by whom.
func pages() map[string]func(t *testing.T, bin, page string) {
	return map[string]func(*testing.T, string, string){
		"many-servers": manyServers,
		"import":       importing,
	}
}

func TestGuides(t *testing.T) {
	t.Parallel()
	bin := tools(t)
	for name, follow := range pages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			follow(t, bin, filepath.Join("../../docs/guides", name+".md"))
		})
	}
}
