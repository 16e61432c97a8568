package manager

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// show gives instances as callers see them, with a status of this moment.
func (m *Manager) show(ctx context.Context, views ...view) ([]api.Instance, error) {
	seen, err := m.observer.Show(ctx, views...)
	if err != nil {
		return nil, fmt.Errorf("read the sockets: %w", err)
	}
	shown := make([]api.Instance, len(views))
	for i, v := range views {
		shown[i] = m.shown(v, seen[i])
	}
	return shown, nil
}

// shown is an instance as it was seen.
func (m *Manager) shown(v view, seen service.Observed) api.Instance {
	i := m.instance(v)
	i.Status, i.Conditions = seen.Status, append(slices.Clone(seen.Conditions), m.prober.condition(v)...)
	i.Warnings = append(i.Warnings, engine.Warnings(&m.doubts, v, seen.Conditions)...)
	return i
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
	v, seen, err := m.observer.Await(ctx, id, want, timeout, m.api.Draining())
	if errors.Is(err, supervisor.ErrNotFound) {
		err = notFound(id)
	}
	if err != nil {
		return view{}, api.Instance{}, err
	}
	return v, m.shown(v, seen), nil
}

// portOf is the port of an address:port in a config; 0 if it has none.
func portOf(address string) int {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return 0
	}
	return int(ap.Port())
}
