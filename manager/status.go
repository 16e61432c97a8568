package manager

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// kernelView is what the kernel says of the sockets that matter, at one moment.
type kernelView struct {
	bind      netip.Addr       // of the manager's ports: another manager may have the same numbers on another address
	control   []sockets.Socket // ESTABLISHED, local port among the control ports
	listening []sockets.Socket // TCP LISTEN
	bound     []sockets.Socket // UDP
}

// connected counts the control channels on a control port.
func (k kernelView) connected(port int, t api.Transport) int {
	channel := engine.ControlChannel(string(t))
	n := 0
	for _, s := range k.control {
		if int(s.Local.Port()) == port && sockets.Overlaps(s.Local.Addr(), k.bind) && s.BytesReceived == channel.FromClient && s.BytesAcked >= channel.FromServer {
			n++
		}
	}
	return n
}

// binds tells whether one of an engine's own sockets has a port of a protocol.
func (k kernelView) binds(s socket, ours func(sockets.Socket) bool) bool {
	all := k.listening
	if s.protocol == api.UDP {
		all = k.bound
	}
	return slices.ContainsFunc(all, func(x sockets.Socket) bool {
		// Two managers on one machine, each with its own address, may have given their engines the same users.
		return int(x.Local.Port()) == s.port && sockets.Overlaps(x.Local.Addr(), k.bind) && ours(x)
	})
}

// taken tells whether anybody has a port.
func (k kernelView) taken(s socket) bool {
	all := k.listening
	if s.protocol == api.UDP {
		all = k.bound
	}
	return slices.ContainsFunc(all, func(x sockets.Socket) bool {
		return int(x.Local.Port()) == s.port && sockets.Overlaps(x.Local.Addr(), k.bind)
	})
}

// assess derives an instance's conditions and status from the supervisor's view and the kernel's. Nothing of it is
// stored: what was true a moment ago is not an answer.
func assess(v view, k kernelView) (api.Status, []api.Condition) {
	rec := v.Record
	if rec.Desired == supervisor.Stopped {
		return api.StatusDisabled, []api.Condition{
			{Type: api.ProcessRunning, Status: api.False, Reason: "disabled", Message: "enabled = false: ports and secrets are kept, nothing runs"},
		}
	}
	running := service.ProcessRunning(v)
	if running.Status != api.True {
		unknown := func(kind string) api.Condition {
			return api.Condition{Type: kind, Status: api.False, Reason: running.Reason, Message: "the engine does not run"}
		}
		return api.StatusDown, []api.Condition{running, unknown(api.ClientConnected), unknown(api.PortsListening)}
	}
	client, open := clientCondition(v, k), portsCondition(v, k)
	conditions := []api.Condition{running, client, open}
	switch {
	case client.Status == api.True && open.Status == api.True:
		return api.StatusHealthy, conditions
	case client.Status == api.True:
		return api.StatusDegraded, conditions
	case v.Hints[hintConnected] == "":
		return api.StatusInactive, conditions
	default:
		return api.StatusDown, conditions
	}
}

// unseen is an instance's status where the kernel's sockets could not be read.
func unseen(v view, why error) (api.Status, []api.Condition) {
	status, conditions := assess(v, kernelView{})
	for i, c := range conditions {
		if c.Type == api.ClientConnected || c.Type == api.PortsListening {
			conditions[i] = api.Condition{Type: c.Type, Status: api.Unknown, Reason: "unknown", Message: why.Error()}
		}
		conditions[i].LastTransition = time.Now().UTC()
	}
	return status, conditions
}

func clientCondition(v view, k kernelView) api.Condition {
	spec := v.Record.Spec
	want, have := spec.engineServices(), k.connected(spec.ControlPort, spec.Transport)
	c := api.Condition{Type: api.ClientConnected, Status: api.True, Reason: "connected", Message: "every service's control channel is established"}
	switch {
	case have >= want:
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

func portsCondition(v view, k kernelView) api.Condition {
	c := api.Condition{Type: api.PortsListening, Status: api.True, Reason: "listening", Message: "every public port is open"}
	ours, err := sockets.Of(v.Process.PID, v.Record.UnixUID)
	if err != nil {
		c.Status, c.Reason, c.Message = api.Unknown, "unknown", "the engine's sockets cannot be read: "+err.Error()
		return c
	}
	var missing []string
	stolen := false
	for s, service := range v.Record.Spec.sockets() {
		if service == "" || k.binds(s, ours) {
			continue
		}
		name := fmt.Sprintf("%d/%s", s.port, s.protocol)
		if k.taken(s) {
			name += " (another program has it)"
			stolen = true
		}
		missing = append(missing, name)
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
