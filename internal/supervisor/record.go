// Package supervisor keeps processes equal to records.
//
// The manager and the agent are the same machine with different rules: both hold durable records and keep one process per
// record running. A request commits a record and wakes the reconciler; nothing else starts or stops a process. The package
// knows nothing of rathole: what a unit is, and when it is ready, is told by Rules; how processes are run, by a Backend.
package supervisor

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// recordSchema is the version of the record's JSON. A record of another version is quarantined, never guessed at.
const recordSchema = 1

// Desired is what a record wants of its process.
type Desired string

// The values of Desired.
const (
	Running Desired = "running" // keep one process alive
	Stopped Desired = "stopped" // keep the record, run nothing
	Absent  Desired = "absent"  // stop the process, then remove the record: a deletion that must be finished
)

// Record is the durable description of a unit, and the only truth about what should run. S is what the owner (manager or
// agent) adds: ports, secrets, where the client belongs.
type Record[S any] struct {
	Schema    int       `json:"schema"`
	ID        string    `json:"id"`
	UID       string    `json:"uid"`      // random per creation
	Revision  int64     `json:"revision"` // 1 for a new record; +1 with each committed change
	Desired   Desired   `json:"desired"`
	Config    string    `json:"config"`             // exact text of the engine's config file
	UnixUID   int       `json:"unix_uid,omitempty"` // user that the process runs as; 0: the service's own
	Spec      S         `json:"spec"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

func encode[S any](rec Record[S]) ([]byte, error) {
	text, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode record %s: %w", rec.ID, err)
	}
	return append(text, '\n'), nil
}

func decode[S any](id string, text []byte) (Record[S], error) {
	var rec Record[S]
	if err := json.Unmarshal(text, &rec); err != nil {
		return rec, fmt.Errorf("decode record: %w", err)
	}
	if rec.Schema != recordSchema {
		return rec, fmt.Errorf("record has schema %d, this version reads %d", rec.Schema, recordSchema)
	}
	if rec.ID != id || rec.UID == "" || rec.Revision < 1 {
		return rec, fmt.Errorf("record names unit %q, uid %q, revision %d: not the record of %q", rec.ID, rec.UID, rec.Revision, id)
	}
	if !slices.Contains([]Desired{Running, Stopped, Absent}, rec.Desired) {
		return rec, fmt.Errorf("record wants its process %q, which means nothing", rec.Desired)
	}
	return rec, nil
}

// CheckRecord tells why a record could not be read; nil if it could, apart from what its owner added to it.
func CheckRecord(id string, text []byte) error {
	_, err := decode[json.RawMessage](id, text)
	return err
}
