package agent

import (
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/service"
)

// TestHostThatIsCutOffIsRemembered reaches two hosts, and then one of them no more: when that was last reached is still told.
func TestHostThatIsCutOffIsRemembered(t *testing.T) {
	t.Parallel()
	views := make([]view, 2)
	views[0].Record.Spec.RemoteAddr, views[1].Record.Spec.RemoteAddr = "near.test:10000", "cut.test:10000"
	var r remotes
	r.saw("near.test")
	r.saw("cut.test")
	r.saw("gone.test") // no client dials it any more
	nearest := nearestOf(views, []service.Observed{{RTT: time.Millisecond}, {}})
	if nearest["near.test"] != time.Millisecond || nearest["cut.test"] != 0 {
		t.Errorf("nearest are %v", nearest)
	}
	known := r.keep(nearest)
	if _, is := known["cut.test"]; !is || len(known) != 2 {
		t.Errorf("known are %v", known)
	}
}
