package api

// The routes of both services, without the host. {id} is a server_id.
const (
	PathInstances    = "/api/instances"
	PathInstance     = "/api/instances/{id}"
	PathClientConfig = "/api/instances/{id}/client-config"
	PathPorts        = "/api/ports"
	PathClients      = "/api/rathole/clients"
	PathClient       = "/api/rathole/clients/{id}"
	PathEvents       = "/api/events" // of all instances or clients; those of one are at its path with /events behind it
	PathReconcile    = "/api/reconcile"
	PathHealth       = "/health"
	PathReady        = "/ready"
	PathMetrics      = "/metrics"
	PathOpenAPI      = "/openapi.json"
)

// IdempotencyKeyHeader names a create, so that a caller who lost the answer can ask again.
const IdempotencyKeyHeader = "Idempotency-Key"

// Level is the version of the HTTP API as a whole; it rises only when an old caller would break.
const Level = 1

// Health is the body of GET /health: the process answers. It needs no token and tells no secret.
type Health struct {
	Service  string   `json:"service" doc:"rathole-manager or rathole-agent."`
	Version  string   `json:"version"`
	APILevel int      `json:"api_level"`
	Features []string `json:"features" nullable:"false" doc:"What this build can do beyond api_level, sorted."`
	Engine   string   `json:"engine,omitempty" doc:"Version of rathole, empty if there is none."`
	Alarm    string   `json:"alarm,omitempty" doc:"What a person must decide: engines run that have no record. Empty when all is well."`
}

// Ready is the body of GET /ready: records are loaded, running engines adopted, and mutations accepted.
type Ready struct {
	Ready bool   `json:"ready"`
	Alarm string `json:"alarm,omitempty" doc:"What a person must decide: engines run that have no record. Empty when all is well."`
}

// Restarted is the body of POST …/{id}/restart on both services.
type Restarted struct {
	ServerID string `json:"server_id"`
	PID      int    `json:"pid" doc:"Process id of the new engine."`
}

// Logs is the body of GET …/{id}/logs on both services.
type Logs struct {
	ServerID string   `json:"server_id"`
	Lines    []string `json:"lines" nullable:"false" doc:"The engine's own lines, oldest first, without colour codes."`
}
