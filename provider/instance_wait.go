package provider

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// explainTimeout bounds the look for causes after a wait failed; its time is over by then.
const explainTimeout = 5 * time.Second

// logTail is how many of the engine's last lines are searched for one that tells something.
const logTail = 20

// awaitHealthy waits until the tunnel is up, or ctx ends. The error names each half, what it lacks, and its engine's last
// line.
func (w *work) awaitHealthy(ctx context.Context) (api.Instance, error) {
	begun := time.Now()
	for least := firstPause; ; least = min(2*least, maxPause) {
		turn := w.limits.poll
		if until, ok := ctx.Deadline(); ok {
			turn = max(time.Millisecond, min(turn, time.Until(until)).Round(time.Millisecond))
		}
		asked := time.Now()
		inst, err := w.mgr.Wait(ctx, w.id, api.StatusHealthy, turn)
		if err == nil && inst.Status == api.StatusHealthy {
			return inst, nil
		}
		if err != nil && ctx.Err() == nil && !client.IsTransient(err) {
			return inst, fmt.Errorf("waiting for the tunnel: %w", err)
		}
		// A manager that answers at once, or not at all, must not be asked without a pause.
		if ctx.Err() != nil || !client.Sleep(ctx, max(client.RetryAfter(err), least-time.Since(asked))) {
			return inst, w.whyNotHealthy(ctx, time.Since(begun))
		}
	}
}

// whyNotHealthy looks at both halves for what is missing, at once, lest one that hangs uses up the other's time.
func (w *work) whyNotHealthy(ctx context.Context, waited time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
	defer cancel()
	var server, clients strings.Builder
	var looking sync.WaitGroup
	if w.agent != nil {
		looking.Go(func() {
			c, err := w.agent.Get(ctx, w.id)
			logs, logErr := w.agent.Logs(ctx, w.id, client.LogQuery{Lines: logTail})
			describe(&clients, "client half on "+w.agent.URL(), c.Status, c.Conditions, err, logs, logErr)
		})
	}
	inst, err := w.mgr.Get(ctx, w.id)
	logs, logErr := w.mgr.Logs(ctx, w.id, client.LogQuery{Lines: logTail})
	describe(&server, "server half on "+w.mgr.URL(), inst.Status, inst.Conditions, err, logs, logErr)
	looking.Wait()
	return fmt.Errorf("the tunnel of instance %s did not become healthy within %s%s%s", w.id, waited.Round(100*time.Millisecond), &server, &clients)
}

func describe(b *strings.Builder, half string, status api.Status, conditions []api.Condition, err error, logs api.Logs, logErr error) {
	if err != nil {
		fmt.Fprintf(b, "\n- %s: %v", half, err)
		return
	}
	fmt.Fprintf(b, "\n- %s is %s", half, status)
	for _, c := range conditions {
		if c.Status != api.True {
			fmt.Fprintf(b, "; %s is %s (%s): %s", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	if logErr != nil {
		return
	}
	if line := lastLine(logs.Lines); line != "" {
		fmt.Fprintf(b, "\n  its engine last said: %s", line)
	}
}

func lastLine(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if line := strings.TrimSpace(lines[i]); line != "" {
			return line
		}
	}
	return ""
}
