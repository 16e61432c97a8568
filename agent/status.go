package agent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
)

// assess derives a client's conditions and status from the supervisor's view and the kernel's.
func assess(v view, k kernelView, ours *sockets.Owned, eye service.Eye) service.Observed {
	running := service.ProcessRunning(v, eye)
	if running.Status != api.True {
		return service.Observed{Status: api.StatusDown, Conditions: []api.Condition{running, {
			Type: api.Connected, Status: api.False, Reason: running.Reason, Message: "the engine does not run",
		}}}
	}
	channels, dialling := k.channels(v.Record.Spec, ours.Has)
	connected, local := connectedCondition(v, len(channels), dialling, ours.Err(), eye.Explain), localCondition(v, k)
	if k.justStarted {
		connected.Status, connected.Reason, connected.Message = api.Unknown, "starting", "the engine was started just now; whether it reaches "+v.Record.Spec.RemoteAddr+" shows in a moment"
	}
	seen := service.Observed{Status: api.StatusHealthy, Conditions: []api.Condition{running, connected, local}, RTT: sockets.Nearest(channels)}
	switch {
	case connected.Status != api.True:
		seen.Status = api.StatusDown
	case local.Status == api.False:
		seen.Status = api.StatusDegraded
	}
	return seen
}

// connectedCondition counts the client's control channels.
func connectedCondition(v view, have int, dialling []sockets.Socket, unknown error, explain bool) api.Condition {
	spec := v.Record.Spec
	c := api.Condition{Type: api.Connected, Status: api.True, Reason: "connected", Message: "every service's control channel to " + spec.RemoteAddr + " is established"}
	if err := unknown; err != nil {
		c.Status, c.Reason, c.Message = api.Unknown, "unknown", "the engine's sockets cannot be read: "+err.Error()
		return c
	}
	switch want := len(spec.Services); {
	case want == 0:
		c.Status, c.Reason, c.Message = api.False, "no_services", "the client's config has no service: nothing is forwarded"
		return c
	case have >= want:
		return c
	case have > 0:
		c.Status, c.Reason = api.False, "partly_connected"
		c.Message = fmt.Sprintf("%d of %d services are connected to %s: does the server run the same revision?", have, want, spec.RemoteAddr)
		return c
	case len(dialling) > 0:
		c.Status, c.Reason = api.False, "no_answer"
		c.Message = "not connected to " + spec.RemoteAddr + ": nothing answers there; is the network up, and the control port let through the firewall?"
		return c
	}
	c.Status, c.Reason = api.False, "not_connected"
	c.Message = "not connected to " + spec.RemoteAddr
	if explain {
		reason, complaint := complaint(v)
		c.Message += complaint
		if reason != "" {
			c.Reason = reason
		}
	}
	return c
}

// complaint is what the engine last said of not being connected, in one word if that is not the common case of a server that
// is not there, and in words that a person can act on.
func complaint(v view) (reason, text string) {
	lines, err := rathole.TailLog(v.Process.Log, 20)
	if err != nil {
		return "", ""
	}
	for _, line := range slices.Backward(lines) {
		switch rathole.ParseLine(line).Kind {
		case rathole.KindConnectionRefused:
			return "", ": connection refused; is the instance's server up, and its control port let through the firewall?"
		case rathole.KindLookupFailed:
			return "name_not_found", ": its name cannot be resolved; check the name, and this host's DNS"
		case rathole.KindAuthFailed:
			return "wrong_token", ": the server refuses the service's token; hand this agent the instance's newest client config"
		case rathole.KindServiceUnknown:
			return "unknown_service", ": the server does not know the service; hand this agent the instance's newest client config"
		case rathole.KindHeartbeatTimeout:
			return "server_silent", ": the server has fallen silent; is the network between cut?"
		case rathole.KindHandshakeFailed:
			return "handshake_failed", ": the two sides do not speak the same transport, or their keys differ"
		}
	}
	return "", ""
}

// localCondition tells whether something listens where the services point, as far as this host's kernel sees it.
func localCondition(v view, k kernelView) api.Condition {
	c := api.Condition{Type: api.LocalReachable, Status: api.True, Reason: "reachable", Message: "something listens on every local address"}
	var silent, unseen []string
	for _, svc := range v.Record.Spec.Services {
		addr, err := svc.address()
		if err != nil || !k.here.has(addr.Addr()) {
			unseen = append(unseen, svc.LocalAddr)
			continue
		}
		if !k.listensOn(svc.Protocol, addr) {
			silent = append(silent, svc.LocalAddr+"/"+string(svc.Protocol))
		}
	}
	switch {
	case len(silent) > 0:
		slices.Sort(silent)
		c.Status, c.Reason, c.Message = api.False, "nothing_listens", "nothing listens on "+strings.Join(silent, ", ")+": is the game running?"
	case len(unseen) > 0:
		slices.Sort(unseen)
		c.Status, c.Reason, c.Message = api.Unknown, "not_visible", strings.Join(slices.Compact(unseen), ", ")+" is not on this machine, so its sockets cannot be seen from here"
	}
	return c
}
