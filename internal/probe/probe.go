// Package probe asks a game server, through its public port as a player does, whether it is there.
//
// A tunnel can be up while no game is behind it: rathole's server accepts players on TCP although nothing can serve them, and
// its UDP ports say nothing at all. Only an answer of the game itself proves the whole way, so games are asked in their own
// query protocols. Whatever comes back may have been written by anyone: every length is bounded, and text is cleaned before it
// is passed on.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// Timeout bounds a probe, even if its context does not. Games answer their query within a tick (16-100 ms) plus the way.
const Timeout = 5 * time.Second

// Target is what to probe.
type Target struct {
	// Address is the public port as the one who probes dials it.
	Address netip.AddrPort
	// Protocol is what the port carries, tcp or udp. It must be the Kind's.
	Protocol api.Protocol
	// Kind is how to ask. Empty: api.ProbeTCP over TCP; over UDP nothing can be asked, and the reason is api.ReasonNotProbed.
	Kind api.ProbeKind
}

// Result is what a probe found. Without an error, the game (for api.ProbeTCP: somebody) answered.
type Result struct {
	// Kind is how it was asked; never empty.
	Kind api.ProbeKind
	// RTT is the time from the first question to its answer, lost and repeated questions included. For api.ProbeTCP it is the
	// connect alone.
	RTT time.Duration
	// Game is what the game says of itself; empty for api.ProbeTCP.
	Game api.GameInfo
}

// Failure is why a game was not reached. Reason is one of api's reasons, Message a sentence that says what can be done.
type Failure struct {
	Reason  string
	Message string
}

// Error implements error.
func (f *Failure) Error() string { return f.Message }

// ProtocolOf tells what a kind's question goes over; false for a kind that asks nothing.
func ProtocolOf(kind api.ProbeKind) (api.Protocol, bool) {
	switch kind {
	case api.ProbeTCP, api.ProbeMinecraft:
		return api.TCP, true
	case api.ProbeSatisfactory, api.ProbeA2S, api.ProbeBedrock:
		return api.UDP, true
	default:
		return "", false
	}
}

// Probe asks a game once, and repeats over UDP what may have been lost. Each error is a *Failure, but for a Target that
// contradicts itself.
func Probe(ctx context.Context, t Target) (Result, error) {
	if t.Kind == "" {
		t.Kind = api.ProbeNone
		if t.Protocol == api.TCP {
			t.Kind = api.ProbeTCP
		}
	}
	r := Result{Kind: t.Kind}
	if t.Kind == api.ProbeNone {
		return r, &Failure{Reason: api.ReasonNotProbed, Message: "not asked: an open UDP port says nothing of the game; name its query protocol in probe"}
	}
	if over, ok := ProtocolOf(t.Kind); !ok || over != t.Protocol {
		return r, fmt.Errorf("a probe of kind %q does not go over %s", t.Kind, t.Protocol)
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	var err error
	switch t.Kind {
	case api.ProbeSatisfactory:
		err = t.exchange(ctx, newSatisfactory(), &r)
	case api.ProbeA2S:
		err = t.exchange(ctx, &a2s{}, &r)
	case api.ProbeBedrock:
		err = t.exchange(ctx, newBedrock(), &r)
	case api.ProbeMinecraft:
		err = t.minecraft(ctx, &r)
	default:
		err = t.connect(ctx, &r)
	}
	return r, err
}

// port names the target for people.
func (t Target) port() string { return fmt.Sprintf("%d/%s", t.Address.Port(), t.Protocol) }

// dialFailed explains an error of opening or using a socket.
func (t Target) dialFailed(err error) *Failure {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return t.portClosed()
	}
	return &Failure{Reason: api.ReasonUnreachable, Message: fmt.Sprintf("public port %s cannot be dialled: %v", t.port(), err)}
}

func (t Target) portClosed() *Failure {
	return &Failure{Reason: api.ReasonPortClosed, Message: fmt.Sprintf("nothing listens on public port %s: rathole opens it while a client is connected", t.port())}
}

func (t Target) closedAtOnce() *Failure {
	return &Failure{Reason: api.ReasonClosedAtOnce, Message: fmt.Sprintf(
		"public port %s accepts players and hangs up: no client is connected, or nothing listens where it forwards to; is the game running?", t.port())}
}

func (t Target) noAnswer() *Failure {
	return &Failure{Reason: api.ReasonNoAnswer, Message: fmt.Sprintf(
		"public port %s is open, but the game does not answer its %s query: is it up? Is this its query port?", t.port(), t.Kind)}
}

func (t Target) badAnswer(why error) *Failure {
	return &Failure{Reason: api.ReasonBadAnswer, Message: fmt.Sprintf(
		"what answers on public port %s does not speak %s (%v): is it another game, or another kind of probe?", t.port(), t.Kind, why)}
}
