package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// checkEngine tells which rathole there is. watches is whether it needs an inotify instance: true also if there is none
// yet, for the releases do.
func checkEngine(ctx context.Context, sys System, s Settings) (f Finding, watches bool) {
	f = Finding{Check: "engine", Status: OK}
	b, err := sys.Engine(ctx, s.Binary)
	if err != nil {
		f.Status = Fail
		f.Value, _, _ = strings.Cut(err.Error(), "; ") // the rest is advice that does not know the setting's name
		f.Mend = fmt.Sprintf("install rathole %s in PATH, or set %s to its path", rathole.Version, s.BinarySetting)
		return f, true
	}
	f.Value = fmt.Sprintf("rathole %s at %s", b.Version, b.Path)
	// What tells builds apart; every one has the rest.
	for _, feature := range []string{"hot-reload", "noise"} {
		if slices.Contains(b.Features, feature) {
			f.Value += ", " + feature
		} else {
			f.Value += ", no " + feature
		}
	}
	if !b.HotReload() {
		f.Status = Warn
		f.Mend = "this build restarts a tunnel, and drops its players, for each change of its services: install one that has hot-reload"
	}
	return f, b.HotReload()
}
