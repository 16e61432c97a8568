package manager

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// hintConnected notes when a client was first seen connected: it tells "inactive" from "down" after a restart.
const hintConnected = "first_connected_at"

// observePeriod is how often the kernel is asked whether instances that never had a client have one now.
const observePeriod = time.Second

// observer reads the sockets of all instances and remembers only when each condition last changed.
type observer struct {
	control []api.PortRange
	bind    netip.Addr
	sup     *supervisor.Supervisor[spec]
	log     *slog.Logger

	seen service.Transitions
}

func newObserver(c Config, sup *supervisor.Supervisor[spec]) *observer {
	return &observer{control: c.Control, bind: c.Bind, sup: sup, log: c.Log}
}

// look asks the kernel. One call serves any number of instances; only says which one, if a single one is meant.
func (o *observer) look(ctx context.Context, only *spec) (kernelView, error) {
	control, public := o.control, []api.PortRange(nil)
	if only != nil {
		control = []api.PortRange{{Start: only.ControlPort, End: only.ControlPort}}
		for s, service := range only.sockets() {
			if service != "" {
				public = append(public, api.PortRange{Start: s.port, End: s.port})
			}
		}
	}
	var err error
	k := kernelView{bind: o.bind}
	k.control, err = o.established(ctx, control)
	if err == nil {
		k.listening, err = sockets.List(ctx, sockets.Query{Protocol: api.TCP, States: []sockets.State{sockets.Listen}, LocalPorts: public})
	}
	if err == nil {
		k.bound, err = sockets.List(ctx, sockets.Query{Protocol: api.UDP, LocalPorts: public})
	}
	return k, err
}

// assess gives an instance's status and conditions, with more that are no part of the status, and the times of their
// changes.
func (o *observer) assess(v view, k kernelView, more []api.Condition) (api.Status, []api.Condition) {
	status, conditions := assess(v, k)
	return status, o.seen.Stamp(v.Record.ID, append(conditions, more...))
}

// run notes the first connection of each instance until ctx ends.
func (o *observer) run(ctx context.Context) {
	tick := time.NewTicker(observePeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		o.noteConnections(ctx)
	}
}

func (o *observer) noteConnections(ctx context.Context) {
	control, err := o.established(ctx, o.control)
	if err != nil {
		o.log.Error("read the sockets", "error", err)
		return
	}
	if len(control) == 0 {
		return // nobody is connected to anything: no instance need be looked at
	}
	k := kernelView{bind: o.bind, control: control}
	for _, v := range o.sup.List() {
		if v.Record.Desired == supervisor.Running {
			o.noteConnection(ctx, v, k)
		}
	}
}

// established lists the connections to control ports.
func (o *observer) established(ctx context.Context, control []api.PortRange) ([]sockets.Socket, error) {
	return sockets.List(ctx, sockets.Query{
		Protocol: api.TCP, States: []sockets.State{sockets.Established}, LocalPorts: control, Info: true,
	})
}

// noteConnection keeps the moment at which an instance's client was first seen.
func (o *observer) noteConnection(ctx context.Context, v view, k kernelView) {
	if v.Hints[hintConnected] != "" || k.connected(v.Record.Spec.ControlPort, v.Record.Spec.Transport) == 0 {
		return
	}
	err := o.sup.SetHint(ctx, v.Record.ID, hintConnected, time.Now().UTC().Format(time.RFC3339Nano))
	if err != nil {
		o.log.Warn("note the first connection", "id", v.Record.ID, "error", err)
	}
}
