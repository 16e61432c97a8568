package engine

import (
	"fmt"
	"slices"
	"sync"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// Doubts remembers the units whose last reload only their log speaks for. The zero value is ready for use.
type Doubts struct {
	mu    sync.Mutex
	units map[string]doubt
}

// doubt is about one revision in one process: the next reload or start ends it.
type doubt struct {
	revision int64
	pid      int
	// renewed says that a connected client ends it too: some service can only be connected if the config was taken.
	renewed bool
}

// note keeps a doubt, or drops the one that there was.
func (d *Doubts) note(id string, about doubt, doubtful bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !doubtful {
		delete(d.units, id)
		return
	}
	if d.units == nil {
		d.units = map[string]doubt{}
	}
	d.units[id] = about
}

// Forget drops a unit that is gone.
func (d *Doubts) Forget(id string) { d.note(id, doubt{}, false) }

// Warnings says so if a unit's engine may not run the config that it was given. now are the unit's conditions at this moment.
func Warnings[S any](d *Doubts, v supervisor.View[S], now []api.Condition) []string {
	id := v.Record.ID
	d.mu.Lock()
	defer d.mu.Unlock()
	about, doubtful := d.units[id]
	if !doubtful {
		return nil
	}
	connected := slices.ContainsFunc(now, func(c api.Condition) bool {
		return (c.Type == api.ClientConnected || c.Type == api.Connected) && c.Status == api.True
	})
	if about.revision != v.Record.Revision || about.pid != v.Process.PID || connected && about.renewed {
		delete(d.units, id)
		return nil
	}
	return []string{fmt.Sprintf("reload_unverified: the engine's log says that it has taken revision %d, and no connection shows whether it did; "+
		"a restart makes sure, and drops the players", about.revision)}
}
