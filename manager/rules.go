package manager

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// record is an instance's record.
type record = supervisor.Record[spec]

// rules tells the supervisor what an instance's server is.
type rules struct {
	engine.Rules[spec]
	bind netip.Addr
}

var _ supervisor.Rules[spec] = rules{}

func newRules(e *engine.Engine, doubts *engine.Doubts, bind netip.Addr) rules {
	r := rules{bind: bind}
	r.Rules = engine.Rules[spec]{Engine: e, Parse: parse, Channels: r.channels, Doubts: doubts}
	return r
}

// Preflight implements supervisor.Rules. rathole aborts when its control port is taken.
func (r rules) Preflight(ctx context.Context, rec record) error {
	control := netip.AddrPortFrom(r.bind, uint16(rec.Spec.ControlPort))
	err := sockets.Bindable(api.TCP, control)
	switch {
	case err == nil:
		return r.Rules.Preflight(ctx, rec)
	case engine.Exhausted(err):
		return err // which says nothing of the port
	}
	message := fmt.Sprintf("control port %d cannot be bound: %v", rec.Spec.ControlPort, err)
	if h, found, err := sockets.Holder(ctx, api.TCP, control); err == nil && found && h.PID != 0 {
		message = fmt.Sprintf("%s (pid %d) holds control port %d: stop it", h.Program, h.PID, rec.Spec.ControlPort)
	}
	return &supervisor.Failure{Reason: engine.ReasonControlPortInUse, Message: message}
}

// Ready implements supervisor.Rules: the engine watches its config, and it is the engine that listens on the control port.
// The log is asked first, because that costs the least; the kernel has the last word.
func (r rules) Ready(ctx context.Context, rec record, p supervisor.Process) (bool, error) {
	if !r.Watching(ctx, p) {
		return false, nil
	}
	ours, err := sockets.Of(p.PID, rec.UnixUID)
	if err != nil {
		return false, err
	}
	port := rec.Spec.ControlPort
	listening, err := sockets.List(ctx, sockets.Query{
		Protocol: api.TCP, States: []sockets.State{sockets.Listen}, LocalPorts: []api.PortRange{{Start: port, End: port}},
	})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(listening, ours), nil
}

// channels are the control channels on an instance's control port.
func (r rules) channels(ctx context.Context, rec record, _ supervisor.Process) ([]sockets.Socket, error) {
	control, err := establishedOn(ctx, []api.PortRange{{Start: rec.Spec.ControlPort, End: rec.Spec.ControlPort}})
	return kernelView{bind: r.bind, control: byPort(control)}.channels(rec.Spec), err
}

// parse reads a server's config: its services, and all the rest.
func parse(text string) (services map[string]any, rest any, err error) {
	c, err := rathole.ParseServer([]byte(text))
	services, c.Services = engine.Services(c.Services), nil
	return services, c, err
}
