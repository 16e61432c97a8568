package faults_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// instances are the units of a manager.
type instances struct {
	*client.Manager
	program *program
	game    string // address of the game

	mu    sync.Mutex
	known map[string]identity
}

// identity is what an instance keeps from its creation to its removal.
type identity struct {
	uid     string
	control int
}

// recognize compares an instance with what it was before; the zero identity says that there is none.
func (m *instances) recognize(id string, now identity) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, known := m.known[id]
	switch {
	case now == identity{}:
		delete(m.known, id)
	case !known:
		m.known[id] = now
	case now != before:
		return fmt.Errorf("%s was %+v, and without a removal is %+v", id, before, now)
	}
	return nil
}

// spec is what an instance of a version is. Versions differ in all that makes the manager do different things: a service
// more or less is a reload, another transport a restart, a disabled one runs nothing.
func (m *instances) spec(version int) api.InstanceSpec {
	enabled := version%5 != 4
	spec := api.InstanceSpec{
		HostIP: m.game, Enabled: &enabled, Transport: api.TransportTCP,
		Labels:   map[string]string{"version": strconv.Itoa(version)},
		Services: map[string]api.ServiceSpec{"game": {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: gamePort}},
	}
	if version%2 == 1 {
		spec.Services["query"] = api.ServiceSpec{Protocols: []api.Protocol{api.UDP}, LocalPort: gamePort}
	}
	if version%7 == 6 {
		spec.Transport = api.TransportNoise
	}
	return spec
}

func (m *instances) put(ctx context.Context, id string, version int, fresh bool) error {
	if fresh {
		_, _, err := m.Create(ctx, api.CreateInstance{ServerID: id, InstanceSpec: m.spec(version)}, client.CreateOptions{})
		return err
	}
	_, err := m.Update(ctx, id, api.UpdateInstance{InstanceSpec: m.spec(version)}, client.UpdateOptions{})
	return err
}

func (m *instances) remove(ctx context.Context, id string) error {
	err := m.Delete(ctx, id)
	if err == nil || client.IsNotFound(err) {
		return errors.Join(err, m.recognize(id, identity{}))
	}
	return err
}

func (m *instances) healthy(ctx context.Context, id string) error {
	i, err := m.Get(ctx, id)
	if err == nil && i.Status != api.StatusHealthy {
		err = fmt.Errorf("%s is %s: %+v", id, i.Status, i.Conditions)
	}
	return err
}

func (m *instances) look(ctx context.Context, id string) (int, error) {
	i, err := m.Get(ctx, id)
	if client.IsNotFound(err) {
		return absent, m.recognize(id, identity{})
	}
	if err != nil {
		return 0, err
	}
	if err := m.recognize(id, identity{i.UID, i.RatholePort}); err != nil {
		return 0, err
	}
	version, err := strconv.Atoi(i.Labels["version"])
	if err != nil {
		return 0, err
	}
	want := m.spec(version)
	if i.Enabled != *want.Enabled || i.Transport != want.Transport || len(i.Services) != len(want.Services) || i.RatholePort == 0 {
		return 0, fmt.Errorf("%s is half of version %d: %+v", id, version, i)
	}
	for name, service := range want.Services {
		if got := i.Services[name]; !slices.Equal(got.Protocols, service.Protocols) || got.PublicPort == 0 {
			return 0, fmt.Errorf("%s is half of version %d: service %s is %+v", id, version, name, got)
		}
	}
	return version, nil
}

func (m *instances) list(ctx context.Context) ([]string, error) {
	all, err := m.List(ctx, "", "")
	ids := make([]string, len(all))
	for i, one := range all {
		ids[i] = one.ServerID
	}
	return ids, err
}

func (m *instances) runs(version int) bool { return *m.spec(version).Enabled }

func (m *instances) serves(ctx context.Context, id string, version int) error {
	i, err := m.Get(ctx, id)
	if err != nil {
		return err
	}
	if !m.runs(version) {
		if i.Status != api.StatusDisabled {
			return fmt.Errorf("%s, and should be disabled", i.Status)
		}
		return nil
	}
	if err := processRuns(i.Conditions); err != nil {
		return err
	}
	return listens(m.program.Bind.String(), i.RatholePort)
}

func (m *instances) consistent(ctx context.Context, t *testing.T) error {
	held, err := m.program.owners(t)
	if err != nil {
		return err
	}
	ports, err := m.Ports(ctx)
	if err != nil {
		return err
	}
	return sameUses(ports, held)
}

func processRuns(conditions []api.Condition) error {
	for _, c := range conditions {
		if c.Type == api.ProcessRunning && c.Status != api.True {
			return fmt.Errorf("the engine does not run: %s", c.Message)
		}
	}
	return nil
}

// clients are the units of an agent. They dial a port where nobody listens.
type clients struct{ *client.Agent }

func (a *clients) config(version int) string {
	text := fmt.Sprintf("[client]\nremote_addr = \"127.0.0.1:%d\"\n", 9+version%3) // another server is a restart
	for i := range 1 + version%2 {                                                 // another service is a reload
		text += fmt.Sprintf("\n[client.services.v%d_%d_tcp]\ntype = \"tcp\"\ntoken = \"a token\"\nlocal_addr = \"127.0.0.1:7777\"\n", version, i)
	}
	return text
}

func (a *clients) put(ctx context.Context, id string, version int, _ bool) error {
	_, err := a.Configure(ctx, id, a.config(version), false)
	return err
}

func (a *clients) remove(ctx context.Context, id string) error {
	_, err := a.Stop(ctx, id)
	return err
}

// look reads the version in the name of a service; the digest tells whether it is wholly of that version.
func (a *clients) look(ctx context.Context, id string) (int, error) {
	c, err := a.Get(ctx, id)
	if client.IsNotFound(err) {
		return absent, nil
	}
	if err != nil {
		return 0, err
	}
	var version, service int
	if len(c.Services) > 0 {
		_, err = fmt.Sscanf(c.Services[0], "v%d_%d_tcp", &version, &service)
	}
	sum := sha256.Sum256([]byte(a.config(version)))
	if err != nil || hex.EncodeToString(sum[:]) != c.ConfigSHA256 {
		return 0, fmt.Errorf("%s is half of version %d: %+v", id, version, c)
	}
	return version, nil
}

func (a *clients) list(ctx context.Context) ([]string, error) {
	all, err := a.List(ctx)
	ids := map[string]bool{}
	for _, one := range all {
		ids[one.ServerID] = true
	}
	return slices.Sorted(maps.Keys(ids)), err
}

func (a *clients) runs(int) bool { return true }

func (a *clients) serves(ctx context.Context, id string, _ int) error {
	c, err := a.Get(ctx, id)
	if err != nil {
		return err
	}
	return processRuns(c.Conditions)
}

func (a *clients) healthy(ctx context.Context, id string) error {
	c, err := a.Get(ctx, id)
	if err == nil && c.Status != api.StatusHealthy {
		err = fmt.Errorf("%s is %s: %+v", id, c.Status, c.Conditions)
	}
	return err
}

func (a *clients) consistent(context.Context, *testing.T) error { return nil }
