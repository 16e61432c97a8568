package command

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// Manager is the kind of service that rathole-manager asks.
func Manager() Kind {
	return Kind{
		Unit: "instance", Units: "instances", Statuses: "inactive,healthy,degraded,down,disabled", columns: []string{"CONTROL", "PUBLIC"},
		dial: func(cfg client.Config) (remote, error) {
			m, err := client.NewManager(cfg)
			return instances{m}, err
		},
	}
}

// instances makes a manager a remote.
type instances struct{ *client.Manager }

func (m instances) list(ctx context.Context, prefix string, status api.Status) ([]unit, any, error) {
	all, err := m.List(ctx, prefix, status)
	if all == nil {
		all = []api.Instance{}
	}
	units := make([]unit, len(all))
	for n, i := range all {
		units[n] = instanceUnit(i)
	}
	return units, api.InstanceList{Instances: all}, err
}

func (m instances) get(ctx context.Context, id string) (unit, error) {
	i, err := m.Get(ctx, id)
	return instanceUnit(i), err
}

func (m instances) look(ctx context.Context, id string, want api.Status, held time.Duration) (unit, error) {
	i, err := m.Wait(ctx, id, want, held.Round(time.Millisecond))
	return instanceUnit(i), err
}

func instanceUnit(i api.Instance) unit {
	u := unit{id: i.ServerID, status: i.Status, conditions: i.Conditions, wire: i}
	u.details = [][]string{
		{"revision", fmt.Sprintf("%d of %s", i.Revision, i.UID)},
		{"control port", net.JoinHostPort(i.PublicHost, strconv.Itoa(i.RatholePort))},
	}
	var public []string
	for _, name := range slices.Sorted(maps.Keys(i.Services)) {
		s := i.Services[name]
		port := fmt.Sprintf("%d/%s", s.PublicPort, protocols(s.Protocols))
		public = append(public, port)
		u.details = append(u.details, []string{
			"service " + name,
			fmt.Sprintf("%s/%s to %s", net.JoinHostPort(i.PublicHost, strconv.Itoa(s.PublicPort)), protocols(s.Protocols), net.JoinHostPort(s.LocalHost, strconv.Itoa(s.LocalPort))),
		})
	}
	u.columns = []string{strconv.Itoa(i.RatholePort), strings.Join(public, ",")}
	u.details = append(u.details, []string{"transport", string(i.Transport)}, []string{"client config", i.ClientConfigSHA256})
	if i.AgentURL != "" {
		u.details = append(u.details, []string{"agent", i.AgentURL})
	}
	for _, key := range slices.Sorted(maps.Keys(i.Labels)) {
		u.details = append(u.details, []string{"label " + key, i.Labels[key]})
	}
	for _, w := range i.Warnings {
		u.details = append(u.details, []string{"warning", w})
	}
	u.details = append(u.details, moment("created", i.CreatedAt), moment("changed", i.UpdatedAt))
	return u
}

func protocols(all []api.Protocol) string {
	names := make([]string, len(all))
	for n, p := range all {
		names[n] = string(p)
	}
	slices.Sort(names)
	return strings.Join(names, "+")
}

func moment(name string, at time.Time) []string {
	return []string{name, at.UTC().Format(time.RFC3339)}
}
