package manager

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// A waiting GET looks again after waitPoll, and then ever more rarely, up to waitPollMax: a tunnel is up within a few
// milliseconds of its client's start, or else it takes seconds.
const (
	waitPoll    = 10 * time.Millisecond
	waitPollMax = 200 * time.Millisecond
)

// show gives instances as callers see them, with a status of this moment.
func (m *Manager) show(ctx context.Context, views ...view) ([]api.Instance, error) {
	var only *spec
	if len(views) == 1 {
		only = &views[0].Record.Spec
	}
	k, err := m.observer.look(ctx, only)
	if err != nil {
		return nil, fmt.Errorf("read the sockets: %w", err)
	}
	shown := make([]api.Instance, len(views))
	for i, v := range views {
		shown[i] = m.instance(v)
		shown[i].Status, shown[i].Conditions = m.observer.assess(v, k, m.prober.condition(v))
		m.observer.noteConnection(ctx, v, k)
	}
	return shown, nil
}

// showOne is show for one instance.
func (m *Manager) showOne(ctx context.Context, v view) (api.Instance, error) {
	shown, err := m.show(ctx, v)
	if err != nil {
		return api.Instance{}, err
	}
	return shown[0], nil
}

// instance is the part of an api.Instance that the record tells.
func (m *Manager) instance(v view) api.Instance {
	rec := v.Record
	s := rec.Spec
	labels := s.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	return api.Instance{
		UID: rec.UID, ServerID: rec.ID, Revision: rec.Revision,
		RatholePort: s.ControlPort, PublicHost: m.cfg.PublicHost,
		GamePort: s.GamePort, BeaconPort: s.BeaconPort, Probe: s.Probe, Services: s.Services,
		HostIP: s.HostIP, AgentURL: s.AgentURL, Labels: labels, Transport: s.Transport, Enabled: s.Enabled,
		ClientConfigSHA256: digest(s.ClientConfig), Warnings: m.warnings(s),
		CreatedAt: rec.CreatedAt, UpdatedAt: rec.UpdatedAt,
	}
}

// warnings names what works and still deserves a look.
func (m *Manager) warnings(s spec) []string {
	var out []string
	for name, svc := range s.Services {
		if contains(m.ports.ephemeral, svc.PublicPort) {
			out = append(out, fmt.Sprintf("public port %d of service %s lies among the ephemeral ports (%s): any program's outgoing "+
				"connection may hold it; reserve it with net.ipv4.ip_local_reserved_ports", svc.PublicPort, name, show(m.ports.ephemeral)))
		}
	}
	slices.Sort(out)
	return out
}

// await answers once an instance has a status, or with what it is when the time is over.
func (m *Manager) await(ctx context.Context, id string, want api.Status, timeout time.Duration) (view, api.Instance, error) {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	pause := waitPoll
	for last := false; ; {
		v, err := m.get(id)
		if err != nil {
			return view{}, api.Instance{}, err
		}
		shown, err := m.showOne(ctx, v)
		if err != nil || last || want == "" || shown.Status == want {
			return v, shown, err
		}
		select {
		case <-time.After(pause):
			pause = min(pause*5/4, waitPollMax)
		case <-deadline.C:
			last = true
		case <-m.api.Draining():
			last = true
		case <-ctx.Done():
			return view{}, api.Instance{}, ctx.Err()
		}
	}
}

// portOf is the port of an address:port in a config; 0 if it has none.
func portOf(address string) int {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return 0
	}
	return int(ap.Port())
}
