package command

import (
	"context"
	"strings"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// Agent is the kind of service that rathole-agent asks.
func Agent() Kind {
	return Kind{
		Unit: "client", Units: "clients", Statuses: "healthy,degraded,down", columns: []string{"SERVER", "SERVICES"},
		dial: func(cfg client.Config) (remote, error) {
			a, err := client.NewAgent(cfg)
			return clients{a}, err
		},
	}
}

// clients makes an agent a remote.
type clients struct{ *client.Agent }

func (a clients) list(ctx context.Context, prefix string, status api.Status) ([]unit, any, error) {
	all, err := a.List(ctx)
	chosen, units := []api.Client{}, []unit{}
	for _, c := range all {
		if strings.HasPrefix(c.ServerID, prefix) && (status == "" || c.Status == status) {
			chosen, units = append(chosen, c), append(units, clientUnit(c))
		}
	}
	return units, api.ClientList{Clients: chosen}, err
}

func (a clients) get(ctx context.Context, id string) (unit, error) {
	c, err := a.Get(ctx, id)
	return clientUnit(c), err
}

func (a clients) look(ctx context.Context, id string, want api.Status, held time.Duration) (unit, error) {
	c, err := a.Wait(ctx, id, want, held)
	return clientUnit(c), err
}

func clientUnit(c api.Client) unit {
	services := strings.Join(c.Services, ",")
	u := unit{
		id: c.ServerID, status: c.Status, conditions: c.Conditions, columns: []string{c.RemoteAddr, services}, wire: c,
		details: [][]string{
			{"server", c.RemoteAddr},
			{"services", services},
			{"config", c.ConfigSHA256},
		},
	}
	for _, w := range c.Warnings {
		u.details = append(u.details, []string{"warning", w})
	}
	u.details = append(u.details, moment("created", c.CreatedAt), moment("changed", c.UpdatedAt))
	return u
}
