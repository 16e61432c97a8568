package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// checkEngine tells which rathole b there is, or from err why there is none. watches is whether it needs an inotify
// instance: true also if there is none yet, for the releases do.
func checkEngine(b rathole.Binary, err error, s Settings) (f Finding, watches bool) {
	f = Finding{Check: "engine", Status: OK}
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

// checkEngineInUse tells whether the engines that run are what the machine has: a start of the service does not change them.
func checkEngineInUse(sys System, s Settings, found rathole.Binary, missing error) Finding {
	f := Finding{Check: "engine in use", Status: OK}
	dir := filepath.Join(s.State, engine.Dir)
	text, err := sys.ReadFile(filepath.Join(dir, engine.CurrentFile))
	if errors.Is(err, fs.ErrNotExist) {
		f.Value = "none yet: the first start takes the one above"
		return f
	}
	name := ""
	if err == nil {
		name, err = engine.ReadName(text)
	}
	if err != nil {
		f.Status, f.Value = Warn, "unknown: "+err.Error()
		f.Mend = "run doctor as the service's user"
		return f
	}
	f.Value = name
	switch _, err := sys.Stat(engine.PathOf(dir, name)); {
	case err != nil:
		f.Status, f.Value = Warn, fmt.Sprintf("%s, but its file is gone", name)
		f.Mend = "the next start of an engine looks for one anew: see that there is one"
	case missing == nil && found.Name() != name:
		f.Status, f.Value = Warn, fmt.Sprintf("%s; found is %s, at %s", name, found.Name(), found.Path)
		f.Mend = fmt.Sprintf("run `%s upgrade`: it takes the tunnels over one by one, and drops the players of each once", s.Program)
	}
	return f
}
