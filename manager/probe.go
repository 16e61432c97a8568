package manager

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/probe"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// maxProbes bounds the probes under way, whoever asked for them: each holds a socket for up to probe.Timeout.
const maxProbes = 256

// prober asks instances' games whether players reach them, and remembers what each said last.
type prober struct {
	from     netip.Addr // the public ports' address, as this machine dials it
	interval time.Duration
	sup      *supervisor.Supervisor[spec]
	watcher  *watcher
	slots    chan struct{}
	tell     func(api.Event)

	mu   sync.Mutex
	last map[string]probed
	told map[string]api.EventType // the last event of each instance
	busy map[string]bool          // instances whose round is under way
}

// probed is the last probe of an instance: of one revision of one creation, for another one says nothing of it.
type probed struct {
	uid      string
	revision int64
	at       time.Time
	since    time.Time // when reachable became what it is
	report   api.ProbeReport
	took     map[string]time.Duration // by service
}

func newProber(c Config, sup *supervisor.Supervisor[spec], w *watcher, tell func(api.Event)) *prober {
	from := c.Bind
	if from.IsUnspecified() {
		from = netip.AddrFrom4([4]byte{127, 0, 0, 1}) // [::] is bound only where its sockets take IPv4 too
	}
	return &prober{
		from: from, interval: c.ProbeInterval, sup: sup, watcher: w,
		slots: make(chan struct{}, maxProbes), tell: tell,
		last: map[string]probed{}, told: map[string]api.EventType{}, busy: map[string]bool{},
	}
}

func (m *Manager) probeRoute() {
	type out struct{ Body api.ProbeReport }
	httpapi.Handle(m.api, huma.Operation{
		OperationID: "probe-instance", Method: http.MethodPost, Path: api.PathProbe,
		Summary: "Ask an instance's game, through its public ports, whether players reach it",
		Description: "Each service is asked as its probe says, all at once, within 5 s, from the manager's own machine. What is proven is the way from the " +
			"public ports through the tunnel to the game and back; a firewall or a NAT in front of the machine is not on that way.",
	}, func(ctx context.Context, in *instanceIn) (*out, error) {
		v, err := m.get(in.ID)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, probe.Timeout)
		defer cancel()
		return &out{Body: m.prober.ask(ctx, v)}, nil
	})
}

// ask probes every service of an instance at once, and remembers the report.
func (p *prober) ask(ctx context.Context, v view) api.ProbeReport {
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		all    = map[string]api.ProbeResult{}
		took   = map[string]time.Duration{}
		active = v.Record.Desired == supervisor.Running
	)
	for name, svc := range v.Record.Spec.Services {
		wg.Go(func() {
			t := p.target(svc)
			result, d := notProbed(t, "the instance is disabled: nothing runs"), time.Duration(0)
			if active {
				result, d = p.service(ctx, t)
			}
			if result.Reason == api.ReasonClosedAtOnce && svc.Probe == "" && slices.Contains(svc.Protocols, api.UDP) {
				result.Message += " (if it speaks UDP only, choose its probe)"
			}
			mu.Lock()
			defer mu.Unlock()
			all[name], took[name] = result, d
		})
	}
	wg.Wait()
	if active {
		p.explain(ctx, v, all)
	}
	report := api.ProbeReport{ServerID: v.Record.ID, Reachable: reachable(all), Services: all}
	if active && !errors.Is(ctx.Err(), context.Canceled) { // who hung up in between cut it off
		p.keep(v, report, took)
	}
	return report
}

// target is how to probe a service: as it was told, else over TCP if it carries that.
func (p *prober) target(svc api.Service) probe.Target {
	t := probe.Target{Address: netip.AddrPortFrom(p.from, uint16(svc.PublicPort)), Protocol: api.UDP, Kind: svc.Probe}
	if slices.Contains(svc.Protocols, api.TCP) {
		t.Protocol = api.TCP
	}
	if over, ok := probe.ProtocolOf(svc.Probe); ok {
		t.Protocol = over
	}
	return t
}

func notProbed(t probe.Target, why string) api.ProbeResult {
	kind := t.Kind
	if kind == "" {
		kind = api.ProbeNone
	}
	return api.ProbeResult{Protocol: t.Protocol, Kind: kind, Reason: api.ReasonNotProbed, Message: why}
}

// service probes one service once there is a slot, and tells how long that took.
func (p *prober) service(ctx context.Context, t probe.Target) (api.ProbeResult, time.Duration) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return notProbed(t, fmt.Sprintf("%d probes are under way already: ask again", maxProbes)), 0
	}
	begin := time.Now()
	r, err := probe.Probe(ctx, t)
	took := time.Since(begin)
	result := api.ProbeResult{Protocol: t.Protocol, Kind: r.Kind}
	var f *probe.Failure
	switch {
	case err == nil:
		result.OK, result.RTTMS = true, math.Round(r.RTT.Seconds()*1e6)/1e3
		if r.Game != (api.GameInfo{}) {
			result.Game = &r.Game
		}
	case errors.As(err, &f):
		result.Reason, result.Message = f.Reason, f.Message
	default:
		result.Reason, result.Message = api.ReasonNotProbed, err.Error()
	}
	return result, took
}

// explain asks the kernel what a probe cannot see: that it was another program that answered, and why nobody did.
func (p *prober) explain(ctx context.Context, v view, all map[string]api.ProbeResult) {
	revision := v.Record.Revision
	v, err := p.sup.Get(v.Record.ID)
	if err != nil || v.Record.Revision != revision {
		return // what was seen stands, of something that is no more
	}
	k, err := p.watcher.ask(context.WithoutCancel(ctx), []view{v}, establishedOn)
	if err != nil {
		return // likewise, unexplained
	}
	conditions := p.watcher.assess(v, k, p.watcher.owners.Of(v.Process.PID, v.Record.UnixUID), service.Eye{Explain: true}).Conditions
	broken := slices.IndexFunc(conditions, func(c api.Condition) bool { return c.Status == api.False })
	ours := p.watcher.owners.Of(v.Process.PID, v.Record.UnixUID)
	for name, r := range all {
		s := socket{v.Record.Spec.Services[name].PublicPort, r.Protocol}
		switch {
		// A dump of the kernel's sockets may miss one: only one that is another's tells something.
		case r.OK && len(k.on(s)) > 0 && !slices.ContainsFunc(k.on(s), ours.Has) && ours.Err() == nil:
			r = api.ProbeResult{
				Protocol: r.Protocol, Kind: r.Kind, Reason: api.ReasonPortStolen,
				Message: fmt.Sprintf("another program answers on public port %d/%s: stop it", s.port, s.protocol),
			}
		case !r.OK && r.Reason != api.ReasonNotProbed && broken >= 0:
			r.Message += " (" + conditions[broken].Message + ")"
		default:
			continue
		}
		all[name] = r
	}
}

// reachable tells whether somebody was asked, and everybody who was asked answered.
func reachable(all map[string]api.ProbeResult) bool {
	asked, ok := 0, 0
	for _, r := range all {
		if r.Reason != api.ReasonNotProbed {
			asked++
		}
		if r.OK {
			ok++
		}
	}
	return asked > 0 && ok == asked
}

func (p *prober) keep(v view, report api.ProbeReport, took map[string]time.Duration) {
	if now, err := p.sup.Get(v.Record.ID); err != nil || now.Record.UID != v.Record.UID {
		return // removed meanwhile, and forgotten
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now, before := time.Now().UTC(), p.last[v.Record.ID]
	since := now
	if before.uid == v.Record.UID && before.report.Reachable == report.Reachable {
		since = before.since
	}
	p.last[v.Record.ID] = probed{uid: v.Record.UID, revision: v.Record.Revision, at: now, since: since, report: report, took: took}
	if v.Record.Revision >= before.revision || before.uid != v.Record.UID {
		p.report(v.Record.ID, p.last[v.Record.ID])
	}
}

// report tells of a game that is not reached, and once it is again. That it is reached the first time is no news.
func (p *prober) report(id string, now probed) {
	e := api.Event{ServerID: id}
	var status api.ConditionStatus
	status, e.Reason, e.Message = now.verdict()
	switch failed := p.told[id] == api.EventProbeFailed; {
	case status == api.False && !failed:
		e.Type = api.EventProbeFailed
	case status == api.True && failed:
		e.Type, e.Reason = api.EventProbeAnswered, ""
	default:
		return
	}
	p.told[id] = e.Type
	p.tell(e)
}

// heard takes note of an event that an earlier run of this service has told.
func (p *prober) heard(e api.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e.Type {
	case api.EventProbeFailed, api.EventProbeAnswered:
		p.told[e.ServerID] = e.Type
	case api.EventCreated, api.EventRemoved:
		delete(p.told, e.ServerID)
	}
}

// forget drops an instance that is gone.
func (p *prober) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.last, id)
	delete(p.told, id)
}

// verdict is what a probe says of the game, as a condition does.
func (d probed) verdict() (status api.ConditionStatus, reason, message string) {
	at := d.at.Format(time.RFC3339)
	if d.report.Reachable {
		return api.True, "answered", fmt.Sprintf("it answered at %s", at)
	}
	for _, name := range slices.Sorted(maps.Keys(d.report.Services)) {
		if r := d.report.Services[name]; !r.OK && r.Reason != api.ReasonNotProbed {
			return api.False, r.Reason, fmt.Sprintf("at %s, service %s: %s", at, name, r.Message)
		}
	}
	return api.Unknown, api.ReasonNotProbed, "no service's probe asks the game"
}

// latest is the last probe of an instance as it is specified now.
func (p *prober) latest(v view) (probed, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, ok := p.last[v.Record.ID]
	return last, ok && last.uid == v.Record.UID && last.revision == v.Record.Revision
}

// condition is GameReachable; none for an instance that is disabled. It is no part of the status, for it is as old as the
// last probe.
func (p *prober) condition(v view) []api.Condition {
	if v.Record.Desired != supervisor.Running {
		return nil
	}
	c := api.Condition{Type: api.GameReachable, Status: api.Unknown, Reason: api.ReasonNotProbed, LastTransition: v.Record.UpdatedAt}
	last, ok := p.latest(v)
	if !ok {
		c.Message = "the game was not asked yet: POST " + api.PathProbe + " asks it, RATHOLE_PROBE_INTERVAL asks again and again"
		return []api.Condition{c}
	}
	c.LastTransition = last.since
	c.Status, c.Reason, c.Message = last.verdict()
	return []api.Condition{c}
}
