package manager

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// assess derives an instance's conditions and status from the supervisor's view and the kernel's. Nothing of it is
// stored: what was true a moment ago is not an answer. fight tells that two clients push each other out.
func assess(v view, k kernelView, ours *sockets.Owned, eye service.Eye, fight bool) service.Observed {
	rec := v.Record
	if rec.Desired == supervisor.Stopped {
		return service.Observed{Status: api.StatusDisabled, Conditions: []api.Condition{
			{Type: api.ProcessRunning, Status: api.False, Reason: "disabled", Message: "enabled = false: ports and secrets are kept, nothing runs"},
		}}
	}
	running := service.ProcessRunning(v, eye)
	if running.Status != api.True {
		unknown := func(kind string) api.Condition {
			return api.Condition{Type: kind, Status: api.False, Reason: running.Reason, Message: "the engine does not run"}
		}
		return service.Observed{
			Status: api.StatusDown, Conditions: []api.Condition{running, unknown(api.ClientConnected), unknown(api.PortsListening)},
		}
	}
	client, open := clientCondition(v, k, fight), portsCondition(v, k, ours)
	seen := service.Observed{Conditions: []api.Condition{running, client, open}, RTT: sockets.Nearest(k.channels(rec.Spec))}
	switch {
	case client.Status == api.True && open.Status == api.True:
		seen.Status = api.StatusHealthy
	case client.Status == api.True || fight:
		seen.Status = api.StatusDegraded
	case v.Hints[hintConnected] == "":
		seen.Status = api.StatusInactive
	default:
		seen.Status = api.StatusDown
	}
	return seen
}

func clientCondition(v view, k kernelView, fight bool) api.Condition {
	spec := v.Record.Spec
	want := spec.engineServices()
	have, silent := k.connected(spec)
	c := api.Condition{Type: api.ClientConnected, Status: api.True, Reason: "connected", Message: "every service's control channel is established"}
	switch {
	case fight:
		c.Status, c.Reason = api.False, service.ReasonTwoClients
		c.Message = "two clients with this instance's config push each other out, again and again: stop one of them, or give the instance new secrets"
	case have >= want:
	case have == 0 && silent > 0:
		c.Status, c.Reason = api.False, "client_silent"
		c.Message = fmt.Sprintf("the client's machine has answered nothing on control port %d for %d s: is it up, and the network between?", spec.ControlPort, silent/time.Second)
	case have > 0:
		c.Status, c.Reason = api.False, "partly_connected"
		c.Message = fmt.Sprintf("%d of %d services are connected: does the client run the newest config?", have, want)
	case v.Hints[hintConnected] == "":
		c.Status, c.Reason = api.False, "never_connected"
		c.Message = fmt.Sprintf("no client has connected to control port %d yet: hand the client config to an agent, and let the port through the firewall", spec.ControlPort)
	default:
		c.Status, c.Reason = api.False, "client_lost"
		c.Message = fmt.Sprintf("no client is connected to control port %d: does the agent run, and does the network let it through?", spec.ControlPort)
	}
	return c
}

func portsCondition(v view, k kernelView, ours *sockets.Owned) api.Condition {
	c := api.Condition{Type: api.PortsListening, Status: api.True, Reason: "listening", Message: "every public port is open"}
	var missing []string
	stolen := false
	for s, service := range v.Record.Spec.sockets() {
		if service == "" {
			continue
		}
		holders := k.on(s)
		if slices.ContainsFunc(holders, ours.Has) {
			continue
		}
		name := fmt.Sprintf("%d/%s", s.port, s.protocol)
		if len(holders) > 0 {
			name += " (another program has it)"
			stolen = true
		}
		missing = append(missing, name)
	}
	if err := ours.Err(); err != nil {
		c.Status, c.Reason, c.Message = api.Unknown, "unknown", "the engine's sockets cannot be read: "+err.Error()
		return c
	}
	if len(missing) == 0 {
		return c
	}
	slices.Sort(missing)
	c.Status, c.Reason, c.Message = api.False, "not_listening", "not open: "+strings.Join(missing, ", ")
	if stolen {
		c.Reason = "port_stolen"
	}
	return c
}
