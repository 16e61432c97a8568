package pages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	docs := t.TempDir()
	if err := Write(t.Context(), docs, "../../../examples"); err != nil {
		t.Fatal(err)
	}
	for path, holds := range map[string][]string{
		"actions/instance_restart.md":       {"# rathole_instance_restart (Action)", "### Required\n\n- `server_id` (String) ", "action \"rathole_instance_restart\""},
		"actions/instance_rotate_secret.md": {"rathole_instance_rotate_secret"},
		"list-resources/instance.md":        {"(List Resource)", "### Optional\n\n- `labels` (Map of String) ", "list \"rathole_instance\""},
	} {
		text, err := os.ReadFile(filepath.Join(docs, path))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range holds {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q:\n%s", path, want, text)
			}
		}
	}
	if err := Write(t.Context(), docs, t.TempDir()); err == nil {
		t.Error("pages without examples were written")
	}
}
