package faults_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

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

// spec is what an instance of a version is.
func (m *instances) spec(v version) api.InstanceSpec {
	enabled := m.runs(v)
	spec := api.InstanceSpec{
		HostIP: m.game, Enabled: &enabled, Transport: api.TransportTCP,
		Labels:   map[string]string{"serial": strconv.Itoa(v.Serial), "kind": strconv.Itoa(v.Kind)},
		Services: map[string]api.ServiceSpec{"game": {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: gamePort}},
	}
	if v.Kind&extra != 0 {
		spec.Services["query"] = api.ServiceSpec{Protocols: []api.Protocol{api.UDP}, LocalPort: gamePort}
	}
	if v.Kind&other != 0 {
		spec.Transport = api.TransportNoise
	}
	return spec
}

func (m *instances) runs(v version) bool { return v.Kind&disabled == 0 }

func (m *instances) expect(before version, o op, serial int) (version, api.Code) {
	after := version{serial, o.Kind}
	switch {
	case o.Verb == create && before != absent:
		return after, api.CodeInstanceExists
	case o.Verb == create:
		return after, ""
	case before == absent:
		return after, api.CodeInstanceNotFound
	case o.Verb == restart && !m.runs(before):
		return before, api.CodeInvalidRequest
	case o.Verb == restart:
		return before, ""
	case o.Verb == remove:
		return absent, ""
	case o.Verb == toggle:
		after.Kind = before.Kind ^ disabled
	}
	return after, ""
}

func (m *instances) carryOut(ctx context.Context, id string, o op, after version) (pid int, err error) {
	switch o.Verb {
	case create:
		opts := client.CreateOptions{}
		if o.Keyed {
			opts.IdempotencyKey = fmt.Sprintf("%s-%d", id, after.Serial)
		}
		_, _, err = m.Create(ctx, api.CreateInstance{ServerID: id, InstanceSpec: m.spec(after)}, opts)
	case restart:
		done, err := m.Restart(ctx, id)
		return done.PID, err
	case remove:
		err = m.Delete(ctx, id)
		if err == nil || client.IsNotFound(err) {
			err = errors.Join(err, m.recognize(id, identity{}))
		}
	default:
		_, err = m.Update(ctx, id, api.UpdateInstance{InstanceSpec: m.spec(after)}, client.UpdateOptions{})
	}
	return 0, err
}

func (m *instances) look(ctx context.Context, id string) (version, error) {
	i, err := m.Get(ctx, id)
	if client.IsNotFound(err) {
		return absent, m.recognize(id, identity{})
	}
	if err != nil {
		return absent, err
	}
	if err := m.recognize(id, identity{i.UID, i.RatholePort}); err != nil {
		return absent, err
	}
	var v version
	if _, err := fmt.Sscan(i.Labels["serial"]+" "+i.Labels["kind"], &v.Serial, &v.Kind); err != nil {
		return absent, fmt.Errorf("%s has the labels %v", id, i.Labels)
	}
	want := m.spec(v)
	if i.Enabled != *want.Enabled || i.Transport != want.Transport || len(i.Services) != len(want.Services) || i.RatholePort == 0 {
		return absent, fmt.Errorf("%s is half of %+v: %+v", id, v, i)
	}
	for name, service := range want.Services {
		if got := i.Services[name]; !slices.Equal(got.Protocols, service.Protocols) || got.PublicPort == 0 {
			return absent, fmt.Errorf("%s is half of %+v: service %s is %+v", id, v, name, got)
		}
	}
	return v, nil
}

func (m *instances) list(ctx context.Context) (map[string]api.Status, error) {
	all, err := m.List(ctx, "", "")
	statuses := map[string]api.Status{}
	for _, one := range all {
		statuses[one.ServerID] = one.Status
	}
	return statuses, err
}

func (m *instances) serves(ctx context.Context, id string, v version) error {
	i, err := m.Get(ctx, id)
	if err != nil {
		return err
	}
	if !m.runs(v) {
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

func (m *instances) consistent(ctx context.Context) error {
	held, err := m.program.owners()
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

func (a *clients) config(v version) string {
	text := fmt.Sprintf("[client]\nremote_addr = \"127.0.0.1:%d\"\n", 9+v.Kind&other)
	for i := range 1 + v.Kind&extra {
		text += fmt.Sprintf("\n[client.services.v%d_%d_%d_tcp]\ntype = \"tcp\"\ntoken = \"a token\"\nlocal_addr = \"127.0.0.1:7777\"\n", v.Serial, v.Kind, i)
	}
	return text
}

func (a *clients) runs(version) bool { return true }

// expect knows no way to disable a client; and whether there is one makes a difference to a restart alone.
func (a *clients) expect(before version, o op, serial int) (version, api.Code) {
	after := version{serial, o.Kind &^ disabled}
	switch {
	case o.Verb == restart && before == absent:
		return before, api.CodeClientNotFound
	case o.Verb == restart:
		return before, ""
	case o.Verb == remove:
		return absent, ""
	case o.Verb == toggle:
		after.Kind = before.Kind ^ other
	}
	return after, ""
}

func (a *clients) carryOut(ctx context.Context, id string, o op, after version) (pid int, err error) {
	switch o.Verb {
	case restart:
		done, err := a.Restart(ctx, id)
		return done.PID, err
	case remove:
		_, err = a.Stop(ctx, id)
	default:
		_, err = a.Configure(ctx, id, a.config(after), false)
	}
	return 0, err
}

// look reads the version in the name of a service; the digest tells whether it is wholly of that version.
func (a *clients) look(ctx context.Context, id string) (version, error) {
	c, err := a.Get(ctx, id)
	if client.IsNotFound(err) {
		return absent, nil
	}
	if err != nil {
		return absent, err
	}
	var (
		v       version
		service int
	)
	if len(c.Services) > 0 {
		_, err = fmt.Sscanf(c.Services[0], "v%d_%d_%d_tcp", &v.Serial, &v.Kind, &service)
	}
	sum := sha256.Sum256([]byte(a.config(v)))
	if err != nil || hex.EncodeToString(sum[:]) != c.ConfigSHA256 {
		return absent, fmt.Errorf("%s is half of %+v: %+v", id, v, c)
	}
	return v, nil
}

func (a *clients) list(ctx context.Context) (map[string]api.Status, error) {
	all, err := a.List(ctx)
	statuses := map[string]api.Status{}
	for _, one := range all {
		statuses[one.ServerID] = one.Status
	}
	return statuses, err
}

func (a *clients) serves(ctx context.Context, id string, _ version) error {
	c, err := a.Get(ctx, id)
	if err != nil {
		return err
	}
	return processRuns(c.Conditions)
}

func (a *clients) consistent(context.Context) error { return nil }
