package newer

import (
	"strings"
	"testing"
)

func TestComplaints(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"action \"rathole_instance_restart\" \"a\" {\n  config {\n    server_id = \"x\"\n  }\n}": "",
		"action \"rathole_instance_restart\" \"a\" {\n  config {\n    server = \"x\"\n  }\n}":    "the provider knows no server, server_id must be set",
		"action \"rathole_instance_stop\" \"a\" {\n}":                                            "the provider has no rathole_instance_stop",
		"list \"rathole_instance\" \"l\" {\n  config {\n    name = \"x\"\n  }\n}":                "the provider knows no name",
		"import {\n  to = a.b\n  identity = {\n    id = \"x\"\n  }\n}":                           "the provider knows no id, server_id must be set",
		"resource \"rathole_instance\" \"r\" {\n}":                                               "nothing of this is known to need a newer Terraform",
	} {
		if got := strings.Join(Complaints(t, text), ", "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
