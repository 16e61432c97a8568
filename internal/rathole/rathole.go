// Package rathole knows the engine: its config files, its binary and its log lines, of the one version that this project
// is measured against. Nothing here starts a tunnel; that is the supervisor's work.
package rathole

// Version is the only version of rathole that Find accepts. Later commits of the same crate version behave differently
// where it matters (one stays alive, silently, when its control port is taken), so that the whole project is pinned.
const Version = "0.5.0"

// What our own configs say instead of rathole's defaults of 30 s and 40 s, in seconds. With the defaults a client
// notices a silent network loss or a frozen server only after 40 s. Every 5 s costs one byte per service; 15 s lets two
// heartbeats be lost before the client dials again.
const (
	HeartbeatInterval = 5  // heartbeat_interval of a server: how often it writes
	HeartbeatTimeout  = 15 // heartbeat_timeout of a client: how long it waits
)
