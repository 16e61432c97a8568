package api

import "fmt"

// ProblemContentType is the media type of every error that these services answer.
const ProblemContentType = "application/problem+json"

// Code is the stable name of an error, for programs. Only an answer that carries one comes from these services; a proxy's
// 404 has none.
type Code string

// The codes of both services.
const (
	CodeInvalidRequest       Code = "invalid_request"       // 400, 422: Errors says which field
	CodeUnauthorized         Code = "unauthorized"          // 401
	CodeInstanceNotFound     Code = "instance_not_found"    // 404
	CodeClientNotFound       Code = "client_not_found"      // 404
	CodeNoSuchRoute          Code = "no_such_route"         // 404, 405
	CodeInstanceExists       Code = "instance_exists"       // 409: same name, different specification
	CodeClientExists         Code = "client_exists"         // 409: belongs to another remote host
	CodeStrangerRunning      Code = "stranger_running"      // 409: an engine of this name runs, and no record wants it
	CodePortInUse            Code = "port_in_use"           // 409: Owner says by whom
	CodeUpgradeInProgress    Code = "upgrade_in_progress"   // 409: one upgrade of the engine at a time
	CodeRevisionMismatch     Code = "revision_mismatch"     // 412: If-Match is stale
	CodeBodyTooLarge         Code = "body_too_large"        // 413
	CodeInvalidConfig        Code = "invalid_config"        // 422: the pushed TOML; Errors says which key and line
	CodeRemoteNotAllowed     Code = "remote_not_allowed"    // 422: remote_addr is not one of the agent's managers
	CodeTargetNotAllowed     Code = "target_not_allowed"    // 422: local_addr points where the agent must not forward
	CodeTransportUnsupported Code = "transport_unsupported" // 422: the installed engine was built without it
	CodeTooManyStreams       Code = "too_many_streams"      // 429: as many callers follow something as may
	CodeInternal             Code = "internal"              // 500
	CodeEngineUnavailable    Code = "engine_unavailable"    // 503: no rathole, or it does not come up
	CodeNotReady             Code = "not_ready"             // 503: still loading and adopting
	CodePortsExhausted       Code = "ports_exhausted"       // 507
	CodeInotifyExhausted     Code = "inotify_exhausted"     // 507: fs.inotify.max_user_instances
	CodeOpenFilesExhausted   Code = "open_files_exhausted"  // 507: RLIMIT_NOFILE or fs.file-max
	CodeProcessesExhausted   Code = "processes_exhausted"   // 507: RLIMIT_NPROC, pids.max, kernel.pid_max or kernel.threads-max
	CodeMemoryExhausted      Code = "memory_exhausted"      // 507: memory.max, or the machine's memory
	CodeDiskFull             Code = "disk_full"             // 507: no block, no inode or no quota left for a record
	CodeStateReadOnly        Code = "state_read_only"       // 507: the disk of the records is mounted read-only
)

// The kinds of owner of a port that is in use.
const (
	OwnerInstance = "instance"
	OwnerProgram  = "program"
)

// PortOwner says who holds a port that was asked for.
type PortOwner struct {
	Kind     string `json:"kind" enum:"instance,program"`
	ServerID string `json:"server_id,omitempty" doc:"Set when kind is instance."`
	Program  string `json:"program,omitempty" doc:"Name and pid, when kind is program and the kernel lets us see it."`
}

// FieldError is one thing wrong with a request.
type FieldError struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty" doc:"Where: body.game_port, path.id, query.limit; for TOML the key and line."`
	Value    any    `json:"value,omitempty"`
}

// Problem is the body of every error (RFC 9457).
type Problem struct {
	Status int          `json:"status"`
	Title  string       `json:"title"`
	Detail string       `json:"detail" doc:"What is wrong, where, and how to mend it."`
	Code   Code         `json:"code"`
	Errors []FieldError `json:"errors,omitempty"`
	Owner  *PortOwner   `json:"owner,omitempty" doc:"With port_in_use."`
}

// Error gives code and detail, and so makes a Problem an error of Go on both sides of the wire.
func (p *Problem) Error() string {
	s := fmt.Sprintf("%s: %s", p.Code, p.Detail)
	for _, e := range p.Errors {
		if e.Location != "" {
			s += fmt.Sprintf("; %s: %s", e.Location, e.Message)
			continue
		}
		s += "; " + e.Message
	}
	return s
}

// GetStatus returns the HTTP status; huma asks for it.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType keeps huma from answering errors as plain JSON.
func (p *Problem) ContentType(string) string { return ProblemContentType }
