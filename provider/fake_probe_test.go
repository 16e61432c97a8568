package provider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/probe"
)

// probe asks games as the manager does, but where the client would forward to: no tunnel is between.
func (f *fake) probe(w http.ResponseWriter, r *http.Request) {
	shown, ok := f.shown(r.PathValue("id"))
	if !ok {
		answerProblem(w, notFound(api.CodeInstanceNotFound))
		return
	}
	report := api.ProbeReport{ServerID: shown.ServerID, Services: map[string]api.ProbeResult{}}
	asked, reached := 0, 0
	for name, s := range shown.Services {
		result := fakeProbe(r.Context(), shown.Status, s)
		if result.Reason != api.ReasonNotProbed {
			asked++
		}
		if result.OK {
			reached++
		}
		report.Services[name] = result
	}
	report.Reachable = asked > 0 && reached == asked
	answerJSON(w, 200, report)
}

// fakeProbe is what a probe of one service brings: what its game says, if there is a tunnel.
func fakeProbe(ctx context.Context, status api.Status, s api.Service) api.ProbeResult {
	target := probe.Target{Protocol: api.UDP, Kind: s.Probe}
	if slices.Contains(s.Protocols, api.TCP) {
		target.Protocol = api.TCP
	}
	if over, ok := probe.ProtocolOf(s.Probe); ok {
		target.Protocol = over
	}
	refused := func(kind api.ProbeKind, reason, format string, args ...any) api.ProbeResult {
		return api.ProbeResult{Protocol: target.Protocol, Kind: kind, Reason: reason, Message: fmt.Sprintf(format, args...)}
	}
	if status == api.StatusDisabled {
		return refused(api.ProbeNone, api.ReasonNotProbed, "the instance is disabled: nothing runs")
	}
	var err error
	if target.Address, err = netip.ParseAddrPort(net.JoinHostPort(s.LocalHost, strconv.Itoa(s.LocalPort))); err != nil {
		return refused(api.ProbeNone, api.ReasonNotProbed, "the fake knows no names: %v", err)
	}
	r, err := probe.Probe(ctx, target)
	var failure *probe.Failure
	switch {
	case errors.As(err, &failure) && failure.Reason == api.ReasonNotProbed:
		return refused(r.Kind, failure.Reason, "%s", failure.Message)
	case status != api.StatusHealthy:
		return refused(r.Kind, api.ReasonPortClosed, "nothing listens on public port %d/%s", s.PublicPort, target.Protocol)
	case failure != nil && target.Protocol == api.TCP: // at a tunnel's end a player finds an open port all the same
		return refused(r.Kind, api.ReasonClosedAtOnce, "public port %d/tcp accepts players and hangs up", s.PublicPort)
	case failure != nil:
		return refused(r.Kind, failure.Reason, "%s", failure.Message)
	case err != nil:
		return refused(r.Kind, api.ReasonNotProbed, "%v", err)
	}
	result := api.ProbeResult{Protocol: target.Protocol, Kind: r.Kind, OK: true, RTTMS: r.RTT.Seconds() * 1e3}
	if r.Game != (api.GameInfo{}) {
		result.Game = &r.Game
	}
	return result
}
