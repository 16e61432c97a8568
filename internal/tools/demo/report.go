package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report prints what was made, how long it took, and what a person may try while it stands.
func (w *world) report(ctx context.Context) error {
	o, err := w.outputs(ctx)
	if err != nil {
		return err
	}
	var endpoints []string
	for _, name := range slices.Sorted(maps.Keys(o.Endpoints.Value)) {
		endpoints = append(endpoints, name+" "+o.Endpoints.Value[name])
	}
	w.say("")
	t := tabwriter.NewWriter(w.Out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(t, "INSTANCE\tCONTROL PORT\tPUBLIC ENDPOINTS\tSTATUS")
	_, _ = fmt.Fprintf(t, "srv_quickstart\t%d\t%s\t%s\n", o.ControlPort.Value, strings.Join(endpoints, ", "), o.Status.Value)
	if err := t.Flush(); err != nil {
		return err
	}
	w.say("")
	if err := w.times(); err != nil {
		return err
	}
	if w.Wait {
		w.say("\nTry, in another terminal (the token is in this environment variable, for as long as the demonstration runs):")
		w.say("  export RATHOLE_TOKEN=%s", w.token.Reveal())
		w.say("  curl -H \"Authorization: Bearer $RATHOLE_TOKEN\" %s/api/instances/srv_quickstart", w.managerURL)
		w.say("  curl -H \"Authorization: Bearer $RATHOLE_TOKEN\" %s/api/rathole/clients", w.agentURL)
		w.say("  echo status | nc -u -w1 %s", strings.Replace(o.Endpoints.Value["game"], ":", " ", 1))
		return nil
	}
	w.say("\nOn a terminal the demonstration waits here, and says what to try.")
	return nil
}

// times prints the steps since the last time, in milliseconds.
func (w *world) times() error {
	t := tabwriter.NewWriter(w.Out, 0, 0, 3, ' ', tabwriter.AlignRight)
	for _, s := range w.steps {
		_, _ = fmt.Fprintf(t, "%.1f ms\t  %s\n", float64(s.took)/float64(time.Millisecond), s.name)
	}
	w.steps = nil
	return t.Flush()
}
