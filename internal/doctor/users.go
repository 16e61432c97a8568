package doctor

import (
	"fmt"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// costOfOneUser is what engines lose that share a user.
const costOfOneUser = "engines share one quota of inotify instances, and one that is broken into could signal and read the others"

// checkUsers tells as whom the engines run. own is whether each has a user of its own.
func checkUsers(sys System, s Settings) (f Finding, own bool) {
	f = Finding{Check: "engines' users", Status: OK}
	r, err := supervisor.ParseUIDs(s.UIDs)
	if err != nil {
		f.Status, f.Value, f.Mend = Fail, err.Error(), "set RATHOLE_UNIT_UIDS to first:count, or to 0"
		return f, false
	}
	if r.Count == 0 {
		f.Status, f.Value = Warn, fmt.Sprintf("all run as user %d (RATHOLE_UNIT_UIDS=0)", sys.UID)
		f.Mend = costOfOneUser + ": leave RATHOLE_UNIT_UIDS unset as root"
		return f, false
	}
	if err := sys.UsableUIDs(r, sys.existing(s.State)); err != nil {
		f.Status, f.Value = Warn, fmt.Sprintf("all run as user %d: %v", sys.UID, err)
		f.Mend = costOfOneUser + ": run the service as root for a user each"
		if sys.UID == 0 {
			f.Mend = costOfOneUser + ": mend the cause, or give other users by RATHOLE_UNIT_UIDS"
		}
		return f, false
	}
	f.Value = fmt.Sprintf("one each, of %d-%d", r.Base, r.Base+r.Count-1)
	return f, true
}
