package service

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/limits"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// ProcessRunning is the condition that a unit's engine runs, and why not.
func ProcessRunning[S any](v supervisor.View[S], eye Eye) api.Condition {
	c := api.Condition{
		Type: api.ProcessRunning, Status: api.True, Reason: "running",
		Message: fmt.Sprintf("rathole runs as process %d", v.Process.PID),
	}
	adopted := v.Phase == supervisor.PhaseStarting && v.Process.Adopted && v.Process.Exit == nil
	switch {
	case (v.Phase == supervisor.PhaseRunning || adopted) && eye.Stopped:
		c.Reason = "stopped"
		c.Message = fmt.Sprintf("process %d is stopped by a signal (SIGSTOP) or a debugger: it exists and does nothing", v.Process.PID)
	case (v.Phase == supervisor.PhaseRunning || adopted) && eye.Explain:
		return troubled(c, v.Process)
	case v.Phase == supervisor.PhaseRunning || adopted:
		return c
	case v.Phase == supervisor.PhaseBackoff && v.Failure != nil && v.Process.PID != 0 && v.Process.Exit == nil:
		// What failed is to replace it, or to give it a new config.
		c.Reason, c.Message = v.Failure.Reason, fmt.Sprintf("process %d goes on as it was: %s", v.Process.PID, v.Failure.Message)
		return c
	case v.Failure != nil:
		c.Reason, c.Message = v.Failure.Reason, v.Failure.Message+nextTry(v.NextTry)
	default:
		c.Reason, c.Message = string(v.Phase), "the engine is being started"
	}
	c.Status = api.False
	return c
}

// troubled adds to the condition of an engine that runs what it suffers from: a limit that it has reached, or a log that
// is not kept.
func troubled(c api.Condition, p supervisor.Process) api.Condition {
	if f := engine.Complains(p); f != nil {
		c.Reason, c.Message = f.Reason, f.Message
		return c
	}
	why := limits.Unwritable(filepath.Dir(p.Log))
	if p.LogTrouble != "" {
		why = p.LogTrouble + " (restart it for a log)"
	}
	if why != "" {
		c.Reason, c.Message = reasonNoLog, fmt.Sprintf("rathole runs as process %d, without a log: %s", p.PID, why)
	}
	return c
}

// reasonNoLog is why an engine that serves is worth a look.
const reasonNoLog = "log_not_written"

// nextTry says when a failed start is repeated, in seconds rounded up.
func nextTry(at time.Time) string {
	left := time.Until(at)
	if left <= 0 {
		return ""
	}
	return fmt.Sprintf("; next try in %d s", (left+time.Second-1)/time.Second)
}
