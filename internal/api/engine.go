package api

import "time"

// The routes of the engine, the same on both services.
const (
	PathEngine        = "/api/engine"
	PathEngineUpgrade = "/api/engine/upgrade"
)

// EngineBuild is one build of rathole.
type EngineBuild struct {
	Version string `json:"version,omitempty" doc:"As rathole -V tells it; empty for a running one that nobody can ask any more."`
	SHA256  string `json:"sha256,omitempty" doc:"Of the executable, in hex: what tells two builds of one version apart."`
	Path    string `json:"path" doc:"Of the executable, on the service's machine."`
}

// EngineUse is a build and the units that run it at this moment.
type EngineUse struct {
	EngineBuild
	Units []string `json:"units" nullable:"false" doc:"Ids of the instances or clients, sorted."`
}

// Engine is the body of GET /api/engine on both services.
type Engine struct {
	Current      *EngineBuild   `json:"current,omitempty" doc:"The build that every start uses. Only an upgrade changes it, and the loss of its file."`
	Found        *EngineBuild   `json:"found,omitempty" doc:"What the configured path, or PATH, leads to now: what an upgrade would install."`
	FoundProblem string         `json:"found_problem,omitempty" doc:"Why nothing is found there."`
	Running      []EngineUse    `json:"running" nullable:"false" doc:"What the processes of the units really run."`
	Upgrade      *EngineUpgrade `json:"upgrade,omitempty" doc:"The upgrade in progress, or the last one since the service was started."`
}

// UpgradeState is where an upgrade stands.
type UpgradeState string

// The values of UpgradeState.
const (
	UpgradeRunning UpgradeState = "running"
	UpgradeDone    UpgradeState = "done"   // every unit runs the new build, and every start uses it
	UpgradeFailed  UpgradeState = "failed" // stopped at a unit that did not come up; starts use the old build
)

// EngineUpgrade is one upgrade: units are given the new build one after the other, each proven as well as it was before the
// next, and the first that is not goes back and ends it.
type EngineUpgrade struct {
	State     UpgradeState    `json:"state" enum:"running,done,failed"`
	From      *EngineBuild    `json:"from,omitempty" doc:"What starts used before."`
	To        EngineBuild     `json:"to"`
	StartedAt time.Time       `json:"started_at"`
	EndedAt   *time.Time      `json:"ended_at,omitempty"`
	Upgraded  []string        `json:"upgraded" nullable:"false" doc:"Units that were given the new build, in order; they keep it when a later one fails, for one more restart would drop their players for nothing."`
	Failed    *UpgradeFailure `json:"failed,omitempty"`
	Remaining []string        `json:"remaining" nullable:"false" doc:"Running units that have not been given the new build, sorted."`
}

// UpgradeFailure is the unit at which an upgrade stopped.
type UpgradeFailure struct {
	ServerID   string `json:"server_id,omitempty" doc:"Empty if the fault was none of a unit's."`
	Reason     string `json:"reason"`
	Message    string `json:"message"`
	RolledBack bool   `json:"rolled_back" doc:"The unit is back on its old build, and as well as it was."`
	Rollback   string `json:"rollback,omitempty" doc:"Why it is not."`
}
