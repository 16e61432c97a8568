package api

import "time"

// ConfigureClient is the body of POST /api/rathole/clients/{id}/configure.
type ConfigureClient struct {
	ClientConfig string `json:"clientConfig" minLength:"1" doc:"The rathole client's TOML as the manager gave it; stored byte for byte."`
	Token        string `json:"token,omitempty" doc:"The API token, where the guide puts it; the Authorization header is the better place."`
}

// Client is the client half of an instance as its agent knows it.
type Client struct {
	ServerID     string      `json:"server_id"`
	Status       Status      `json:"status" enum:"healthy,degraded,down"`
	Conditions   []Condition `json:"conditions" nullable:"false"`
	ConfigSHA256 string      `json:"config_sha256" doc:"Over the exact bytes that were pushed, in hex."`
	RemoteAddr   string      `json:"remote_addr" doc:"The instance's rathole server: host:control port."`
	Services     []string    `json:"services" nullable:"false" doc:"The engine's service names, sorted."`
	Warnings     []string    `json:"warnings,omitempty" doc:"What deserves a look, such as reload_unverified: a change that only the engine's log speaks for."`
	CreatedAt    time.Time   `json:"created_at"`
	UpdatedAt    time.Time   `json:"updated_at"`
}

// ClientList is the body of GET /api/rathole/clients.
type ClientList struct {
	Clients []Client `json:"clients" nullable:"false"`
}

// StopClient is the answer of POST /api/rathole/clients/{id}/stop, also when there was nothing to stop.
type StopClient struct {
	ServerID string `json:"server_id"`
	Existed  bool   `json:"existed" doc:"false when the agent knew no such client."`
}
