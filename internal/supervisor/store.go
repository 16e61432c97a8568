package supervisor

import (
	"context"
	"errors"
)

// ErrExists is returned by Store.Create and Supervisor.Create when the unit has a record already.
var ErrExists = errors.New("unit exists")

// Store keeps records. Each method but Create returns only when its effect is durable. The supervisor is the only writer (it holds
// the state directory's lock) and calls Replace and Remove for one unit from one goroutine at a time.
type Store interface {
	// Load returns every record's text, and sweeps what an interrupted Create or Remove left.
	Load(ctx context.Context) ([]Stored, error)
	// Create commits the first record of a unit; ErrExists when there is one. It outlives a kill at once, and a power cut once
	// Sync has returned: between the two a process can be started, which a power cut ends as well.
	Create(ctx context.Context, id string, text []byte) error
	// Sync makes durable what Create has committed.
	Sync(ctx context.Context) error
	// Replace commits the next record of a unit.
	Replace(ctx context.Context, id string, text []byte) error
	// SetHints replaces what is noted beside a unit's record; it need not be durable.
	SetHints(ctx context.Context, id string, hints map[string]string) error
	// Remove ends a unit and all that is kept beside its record.
	Remove(ctx context.Context, id string) error
}

// Stored is one record as found by Load. Err is set when its text could not be read, or what was left beside it not be swept.
type Stored struct {
	ID    string
	Text  []byte
	Hints map[string]string
	Err   error
}
