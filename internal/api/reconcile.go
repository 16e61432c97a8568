package api

import "time"

// Reconcile is the body of POST /api/reconcile on both services.
type Reconcile struct {
	AcceptStrangers bool   `json:"accept_strangers,omitempty" doc:"Stop the engines that have no record. Without it the answer says which they are, and nothing is done."`
	Token           string `json:"token,omitempty" doc:"The API token, where the guide puts it; the Authorization header is the better place."`
}

// Stranger is an engine that runs on the service's state directory and has no record.
type Stranger struct {
	ServerID  string    `json:"server_id" doc:"The name under which it was started."`
	PID       int       `json:"pid"`
	StartedAt time.Time `json:"started_at" doc:"When it was started or, if nobody knows any more, first seen."`
}

// Quarantined is a record that cannot be read. Its file is kept, its engine and its ports are left alone.
type Quarantined struct {
	ServerID string `json:"server_id"`
	Reason   string `json:"reason"`
}

// Reconciliation is the answer of GET and POST /api/reconcile: where records and engines do not fit together.
type Reconciliation struct {
	Alarm       string            `json:"alarm,omitempty" doc:"Set as long as engines without a record run."`
	Strangers   []Stranger        `json:"strangers" nullable:"false" doc:"Engines without a record that run now, sorted; accept_strangers stops these."`
	Quarantined []Quarantined     `json:"quarantined" nullable:"false" doc:"Records that cannot be read, sorted."`
	Stopped     []string          `json:"stopped" nullable:"false" doc:"The engines that this request stopped, sorted."`
	Failed      map[string]string `json:"failed" nullable:"false" doc:"Why an engine could not be stopped, by its server_id."`
}
