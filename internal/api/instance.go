package api

import "time"

// Protocol is what a service carries: "tcp" or "udp".
type Protocol string

// The protocols that rathole forwards.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// Transport is how the two halves of an instance talk to each other.
type Transport string

// The transports that this version renders. Plain TCP never sends a token in clear (rathole answers a challenge with a
// digest), but the game's own traffic is not encrypted. Noise encrypts it; it costs throughput and memory, and lets one
// silent connection to the control port hold up new players for 5 s (rathole's HANDSHAKE_TIMEOUT, inside its accept loop).
const (
	TransportTCP   Transport = "tcp"
	TransportNoise Transport = "noise"
)

// The services that the guide's two port fields stand for.
const (
	GameService   = "game"
	BeaconService = "beacon"
)

// ServiceSpec is one forwarded port, for players one address.
type ServiceSpec struct {
	Protocols  []Protocol `json:"protocols" minItems:"1" maxItems:"2" enum:"tcp,udp" doc:"What the port carries; both protocols share one port number."`
	LocalPort  int        `json:"local_port" minimum:"1" maximum:"65535" doc:"Port of the game on the agent's side."`
	PublicPort int        `json:"public_port,omitempty" minimum:"0" maximum:"65535" doc:"Port for players on the manager's machine; left out or 0, one is chosen."`
	LocalHost  string     `json:"local_host,omitempty" maxLength:"253" doc:"Address of the game as the agent sees it, when it differs from the instance's host_ip."`
	Probe      ProbeKind  `json:"probe,omitempty" enum:"tcp,satisfactory,a2s,minecraft,bedrock" doc:"How to ask the game whether players reach it; tcp and minecraft go over TCP, the others over UDP. Left out: tcp if the service carries TCP, else the game is not asked."`
}

// InstanceSpec is what a caller may choose about an instance. Either GamePort (with or without BeaconPort) or Services is
// set, never both.
type InstanceSpec struct {
	GamePort   int                    `json:"game_port,omitempty" minimum:"1" maximum:"65535" doc:"Service \"game\": TCP and UDP, the same number on both sides."`
	BeaconPort int                    `json:"beacon_port,omitempty" minimum:"1" maximum:"65535" doc:"Service \"beacon\": TCP and UDP, the same number on both sides."`
	Probe      ProbeKind              `json:"probe,omitempty" enum:"tcp,satisfactory,a2s,minecraft,bedrock" doc:"With game_port: how to ask the service \"game\" whether players reach it."`
	Services   map[string]ServiceSpec `json:"services,omitempty" maxProperties:"64" doc:"Services by name, instead of game_port and beacon_port."`
	HostIP     string                 `json:"host_ip,omitempty" maxLength:"253" doc:"Address of the game as the agent's machine sees it: an IP or a host name. Default 127.0.0.1."`
	AgentURL   string                 `json:"agent_url,omitempty" maxLength:"2048" doc:"Where the agent that runs the client answers; kept for the caller, never dialled by the manager."`
	Labels     map[string]string      `json:"labels,omitempty" maxProperties:"64" doc:"Free text by key, for people and filters."`
	Transport  Transport              `json:"transport,omitempty" enum:"tcp,noise" doc:"How the halves talk to each other. Default tcp."`
	Enabled    *bool                  `json:"enabled,omitempty" doc:"false keeps ports and secrets but runs nothing. Default true."`
}

// CreateInstance is the body of POST /api/instances.
type CreateInstance struct {
	ServerID string `json:"server_id" doc:"Name of the instance: a letter or digit, then up to 63 letters, digits, - or _."`
	InstanceSpec
	Token string `json:"token,omitempty" doc:"The API token, where the guide puts it; the Authorization header is the better place."`
}

// UpdateInstance is the body of PUT /api/instances/{id}: the full specification, replacing the old one.
type UpdateInstance struct {
	ServerID string `json:"server_id,omitempty" doc:"May repeat the id of the path; must not differ from it."`
	InstanceSpec
	Token string `json:"token,omitempty" doc:"The API token, where the guide puts it; the Authorization header is the better place."`
}

// Service is a ServiceSpec after defaults: every field is set, but Probe only if a kind was chosen.
type Service struct {
	Protocols  []Protocol `json:"protocols" nullable:"false"`
	LocalPort  int        `json:"local_port"`
	PublicPort int        `json:"public_port"`
	LocalHost  string     `json:"local_host"`
	Probe      ProbeKind  `json:"probe,omitempty"`
}

// Status is the one-word answer to "is it up?".
type Status string

// The statuses of an instance or a client; the table is in the README, under "Status".
const (
	// StatusInactive: the server runs and never had a client.
	StatusInactive Status = "inactive"
	// StatusHealthy: the client is connected and every port listens.
	StatusHealthy Status = "healthy"
	// StatusDegraded: the client is connected, some port is missing.
	StatusDegraded Status = "degraded"
	// StatusDown: the engine does not run, or had a client and has none.
	StatusDown Status = "down"
	// StatusDisabled: enabled = false; ports and secrets are kept, nothing runs.
	StatusDisabled Status = "disabled"
)

// ConditionStatus is "True", "False" or "Unknown", as Kubernetes writes it.
type ConditionStatus string

// The values of a condition.
const (
	True    ConditionStatus = "True"
	False   ConditionStatus = "False"
	Unknown ConditionStatus = "Unknown"
)

// The condition types of instances and clients.
const (
	ProcessRunning  = "ProcessRunning"  // both halves: the engine's process exists and is not stopped
	ClientConnected = "ClientConnected" // instance: every service's control channel is established
	PortsListening  = "PortsListening"  // instance: every public port is bound by this instance's engine
	GameReachable   = "GameReachable"   // instance: its game answered when it was last probed; no part of the status
	Connected       = "Connected"       // client: every service's control channel to the server is established
	LocalReachable  = "LocalReachable"  // client: something listens where the services point
)

// Condition is one observed fact about an instance or a client.
type Condition struct {
	Type           string          `json:"type" doc:"What the condition is about."`
	Status         ConditionStatus `json:"status" enum:"True,False,Unknown"`
	Reason         string          `json:"reason" doc:"One word for programs, such as partly_connected."`
	Message        string          `json:"message" doc:"A sentence for people: what is wrong and what can be done."`
	LastTransition time.Time       `json:"last_transition" doc:"When the status of this condition last changed, as far as this process saw."`
}

// Instance is one isolated tunnel as the manager knows it.
type Instance struct {
	UID                string             `json:"uid" doc:"Random per creation: tells an instance from an earlier one of the same name."`
	ServerID           string             `json:"server_id"`
	Revision           int64              `json:"revision" doc:"Rises with the specification or the secrets, never with the status."`
	Status             Status             `json:"status" enum:"inactive,healthy,degraded,down,disabled"`
	Conditions         []Condition        `json:"conditions" nullable:"false"`
	RatholePort        int                `json:"rathole_port" doc:"Control port: where the instance's rathole server accepts its client."`
	PublicHost         string             `json:"public_host" doc:"The name or address that clients and players dial."`
	GamePort           int                `json:"game_port,omitempty" doc:"Set only if the instance was created with it."`
	BeaconPort         int                `json:"beacon_port,omitempty" doc:"Set only if the instance was created with it."`
	Probe              ProbeKind          `json:"probe,omitempty" doc:"Set only if the instance was created with it."`
	Services           map[string]Service `json:"services" nullable:"false"`
	HostIP             string             `json:"host_ip"`
	AgentURL           string             `json:"agent_url,omitempty"`
	Labels             map[string]string  `json:"labels" nullable:"false"`
	Transport          Transport          `json:"transport" enum:"tcp,noise"`
	Enabled            bool               `json:"enabled"`
	ClientConfigSHA256 string             `json:"client_config_sha256" doc:"Over the exact bytes of the client config, in hex."`
	Warnings           []string           `json:"warnings,omitempty" doc:"What will work but deserves a look, such as a public port inside the kernel's ephemeral range."`
	CreatedAt          time.Time          `json:"created_at"`
	UpdatedAt          time.Time          `json:"updated_at"`
}

// InstanceList is the body of GET /api/instances.
type InstanceList struct {
	Instances []Instance `json:"instances" nullable:"false"`
	Next      string     `json:"next,omitempty" doc:"Pass as after= for the next page; absent at the end."`
}

// ClientConfig is the body of GET /api/instances/{id}/client-config. Config holds the services' secrets.
type ClientConfig struct {
	ServerID string `json:"server_id"`
	Config   string `json:"config" doc:"The rathole client's TOML; hand it to an agent as clientConfig. It holds secrets."`
	SHA256   string `json:"sha256" doc:"Over the exact bytes of config, in hex."`
}

// PortRange is an inclusive range of ports, 1 to 65535.
type PortRange struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// PortUse says which instance holds a port, and for what.
type PortUse struct {
	Port      int        `json:"port"`
	Protocols []Protocol `json:"protocols" nullable:"false"`
	ServerID  string     `json:"server_id"`
	Service   string     `json:"service,omitempty" doc:"Empty for a control port."`
}

// PortPool is one kind of port: where it may lie and how much of it is used.
type PortPool struct {
	Ranges    []PortRange `json:"ranges" nullable:"false"`
	Total     int         `json:"total"`
	Allocated int         `json:"allocated"`
	Free      int         `json:"free"`
	Uses      []PortUse   `json:"uses" nullable:"false"`
}

// Ports is the body of GET /api/ports.
type Ports struct {
	Control PortPool `json:"control"`
	Public  PortPool `json:"public"`
}
