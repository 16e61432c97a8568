// Package doctor examines a machine before, or while, a service runs on it: what is missing, what will run out, and the
// setting that mends it. It changes nothing and needs no running service.
//
// Each check looks at the machine through a System and gives one Finding. Common has those of both services; the manager
// and the agent add their own.
package doctor

import (
	"context"

	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// Status is the verdict of a check.
type Status string

// The values of Status.
const (
	OK   Status = "ok"
	Warn Status = "warn" // it works, with a risk or at a cost that the mend names
	Fail Status = "fail" // the service, or some tunnel, does not work like this
)

// Finding is what one check found.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Value  string `json:"value"`          // what is, in a few words
	Mend   string `json:"mend,omitempty"` // what a person can do; empty if nothing needs doing
}

// Settings are a service's settings, as far as the checks of both services need them.
type Settings struct {
	// Program is the service's own name, for advice.
	Program string
	// State and Logs are directories, absolute; neither needs to exist yet.
	State, Logs string
	// Units is the directory of the records below State; Flag and ConfigName are how its engines are started on configs there.
	Units, Flag, ConfigName string
	// Binary is the rathole executable, empty for the one in PATH; BinarySetting is the variable that sets it.
	Binary, BinarySetting string
	// UIDs is RATHOLE_UNIT_UIDS or its default.
	UIDs string
	// Token is RATHOLE_TOKEN, TokenFile a file that holds the token instead. NoAuth does without.
	Token     secret.String
	TokenFile string
	NoAuth    bool
	// Listen is the address of the API; the rest is how it is protected.
	Listen          string
	TLSCert, TLSKey string
	PlainHTTP       bool
}

// Common are the checks of both services, in the order of the table.
func Common(ctx context.Context, sys System, s Settings) []Finding {
	found, missing := sys.Engine(ctx, s.Binary)
	engine, watches := checkEngine(found, missing, s)
	users, own := checkUsers(sys, s)
	running := sys.running(s.State)
	units := sys.units(s)
	return []Finding{
		engine,
		checkEngineInUse(sys, s, found, missing),
		users,
		checkInotify(sys, watches, own, units),
		checkOpenFiles(sys, units),
		checkMachineThreads(sys, units),
		checkThreads("cgroup's threads", sys.kernel().GroupThreads(), units),
		checkUserThreads(sys, own, units),
		checkState(sys, s, running, units),
		checkRecords(sys, s),
		checkStrangers(sys, s, running),
		checkDirectory(sys, "state directory's disk", s.State, "RATHOLE_STATE_DIR"),
		checkDirectory(sys, "log directory's disk", s.Logs, "RATHOLE_LOG_DIR"),
		checkToken(sys, s),
		checkExposure(sys, s),
		checkListen(ctx, sys, s, running),
	}
}
