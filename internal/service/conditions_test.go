package service

import (
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

func TestProcessRunningTellsTheNextTry(t *testing.T) {
	t.Parallel()
	failed := supervisor.View[struct{}]{
		Phase:   supervisor.PhaseBackoff,
		Failure: &supervisor.Failure{Reason: "exited", Message: "the engine exited with code 1"},
	}
	for name, c := range map[string]struct {
		next time.Time
		want string
	}{
		"later": {time.Now().Add(7500 * time.Millisecond), "the engine exited with code 1; next try in 8 s"},
		"now":   {time.Now(), "the engine exited with code 1"},
	} {
		failed.NextTry = c.next
		got := ProcessRunning(failed, Eye{Explain: true})
		if got.Status != api.False || got.Reason != "exited" || got.Message != c.want {
			t.Errorf("%s: %+v, want the message %q", name, got, c.want)
		}
	}
}
