package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// idsNamed bounds how many units a finding names.
const idsNamed = 5

// checkRecords looks for records that a service would set aside because it cannot read them.
func checkRecords(sys System, s Settings) Finding {
	f := Finding{Check: "records", Status: OK}
	ids, err := sys.Records(s)
	if err != nil {
		return unreadable(f.Check, err)
	}
	slices.Sort(ids)
	var (
		bad   []string
		cause error // of the first
	)
	for _, id := range ids {
		text, err := sys.ReadFile(filepath.Join(s.State, s.Units, id, "record.json"))
		switch {
		case errors.Is(err, fs.ErrPermission):
			return unreadable(f.Check, err)
		case errors.Is(err, fs.ErrNotExist):
			if _, gone := sys.Stat(filepath.Join(s.State, s.Units, id)); errors.Is(gone, fs.ErrNotExist) {
				continue // removed while we looked
			}
		case err == nil:
			err = supervisor.CheckRecord(id, text)
		}
		if err != nil {
			bad = append(bad, id)
			if cause == nil {
				cause = err
			}
		}
	}
	if len(bad) == 0 {
		f.Value = fmt.Sprintf("all %d can be read", len(ids))
		return f
	}
	f.Status = Fail
	f.Value = fmt.Sprintf("%d of %d cannot be read: %s (%v)", len(bad), len(ids), some(bad), cause)
	f.Mend = fmt.Sprintf("their engines and ports are left alone: restore record.json below %s and restart the service, or remove "+
		"the unit's directory there and restart, which stops its engine", filepath.Join(s.State, s.Units))
	return f
}

// checkStrangers looks for engines of this state directory that have no record. A service stops a few of them at its
// start; if they are so many that the records are more likely lost, it waits for a person.
func checkStrangers(sys System, s Settings, running occupied) Finding {
	f := Finding{Check: "engines without record", Status: OK}
	units := filepath.Join(s.State, s.Units)
	// Processes first: whose record is made before it is started, and removed after it has ended.
	engines, err := sys.Engines(units, s.Flag, s.ConfigName)
	if err != nil {
		return unreadable(f.Check, err)
	}
	ids, err := sys.Records(s)
	if err != nil {
		return unreadable(f.Check, err)
	}
	slices.Sort(ids)
	again, err := sys.Engines(units, s.Flag, s.ConfigName)
	if err != nil {
		return unreadable(f.Check, err)
	}
	var strangers []string
	for pid, id := range engines {
		if _, recorded := slices.BinarySearch(ids, id); !recorded && again[pid] == id {
			strangers = append(strangers, id)
		}
	}
	if len(strangers) == 0 {
		f.Value = fmt.Sprintf("none of %d", len(engines))
		return f
	}
	slices.Sort(strangers)
	f.Value = fmt.Sprintf("%d of %d: %s", len(strangers), len(engines), some(strangers))
	if running == no && !supervisor.RecordsLost(len(strangers), len(engines), len(ids)) {
		f.Status, f.Mend = Warn, "the next start of the service stops them; to keep them, put their records back into "+units+" before"
		return f
	}
	f.Status = Fail
	f.Mend = fmt.Sprintf("were records lost, or is this the wrong state directory? Put the records back into %s and restart the service, "+
		"or let the running service stop these engines: %s reconcile --accept-strangers", units, s.Program)
	return f
}

// some names a few.
func some(ids []string) string {
	if len(ids) <= idsNamed {
		return strings.Join(ids, ", ")
	}
	return strings.Join(ids[:idsNamed], ", ") + ", …"
}
