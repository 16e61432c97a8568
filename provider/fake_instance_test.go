package provider

import (
	"fmt"
	"maps"
	"net"
	"reflect"
	"slices"
	"strconv"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// stock makes an instance without a call; uid is its creator's key, too.
func (f *fake) stock(id, uid string, spec api.InstanceSpec) *fakeInstance {
	f.state.Lock()
	defer f.state.Unlock()
	inst := f.resolve(id, spec, nil)
	f.nextPort++
	inst.UID, inst.Revision, inst.RatholePort = uid, 1, f.nextPort
	made := &fakeInstance{Instance: inst, key: uid}
	made.render()
	f.instances[id] = made
	return made
}

// resolve fills in a specification's defaults, as the manager does.
func (f *fake) resolve(id string, spec api.InstanceSpec, old *fakeInstance) api.Instance {
	inst := api.Instance{
		ServerID: id, PublicHost: "vps.example", GamePort: spec.GamePort, BeaconPort: spec.BeaconPort, HostIP: spec.HostIP,
		Probe: spec.Probe, AgentURL: spec.AgentURL, Labels: spec.Labels, Transport: spec.Transport, Enabled: spec.Enabled == nil || *spec.Enabled,
		Services: map[string]api.Service{}, Status: api.StatusInactive, Conditions: []api.Condition{},
	}
	if inst.HostIP == "" {
		inst.HostIP = "127.0.0.1"
	}
	if inst.Transport == "" {
		inst.Transport = api.TransportTCP
	}
	if inst.Labels == nil {
		inst.Labels = map[string]string{}
	}
	for name, port := range map[string]int{api.GameService: spec.GamePort, api.BeaconService: spec.BeaconPort} {
		if port != 0 {
			inst.Services[name] = api.Service{Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: port, PublicPort: port, LocalHost: inst.HostIP}
		}
	}
	if game, ok := inst.Services[api.GameService]; ok {
		game.Probe = spec.Probe
		inst.Services[api.GameService] = game
	}
	asked := map[int]bool{}
	for _, s := range spec.Services {
		asked[s.PublicPort] = true
	}
	for name, s := range spec.Services {
		one := api.Service{Protocols: slices.Clone(s.Protocols), LocalPort: s.LocalPort, PublicPort: s.PublicPort, LocalHost: s.LocalHost, Probe: s.Probe}
		slices.Sort(one.Protocols)
		if one.LocalHost == "" {
			one.LocalHost = inst.HostIP
		}
		if one.PublicPort == 0 && old != nil && !asked[old.Services[name].PublicPort] {
			one.PublicPort = old.Services[name].PublicPort
		}
		if one.PublicPort == 0 {
			f.nextPort++
			one.PublicPort = 10000 + f.nextPort
		}
		inst.Services[name] = one
	}
	if old != nil {
		inst.UID, inst.Revision, inst.RatholePort, inst.ClientConfigSHA256 = old.UID, old.Revision, old.RatholePort, old.ClientConfigSHA256
	}
	return inst
}

func sameSpec(a, b api.Instance) bool {
	strip := func(i api.Instance) api.Instance {
		i.Status, i.Conditions = "", nil
		return i
	}
	return reflect.DeepEqual(strip(a), strip(b))
}

// tunnelOf is what the client's config is made from: probes and labels are the manager's alone.
func tunnelOf(i api.Instance) api.Instance {
	i.Probe, i.Labels, i.Services = "", nil, maps.Clone(i.Services)
	for name, s := range i.Services {
		s.Probe = ""
		i.Services[name] = s
	}
	return i
}

func (f *fake) conflict(inst api.Instance, replaces string) *api.Problem {
	seen := map[string]bool{}
	for _, s := range inst.Services {
		for _, proto := range s.Protocols {
			socket := fmt.Sprintf("%d/%s", s.PublicPort, proto)
			if seen[socket] {
				return &api.Problem{Status: 422, Code: api.CodeInvalidRequest, Detail: socket + " is named twice"}
			}
			seen[socket] = true
		}
		p := &api.Problem{Status: 409, Code: api.CodePortInUse, Detail: fmt.Sprintf("port %d is taken", s.PublicPort)}
		if inst.GamePort == s.PublicPort {
			p.Errors = []api.FieldError{{Location: "body.game_port", Message: "in use"}}
		}
		if f.programs[s.PublicPort] {
			p.Owner = &api.PortOwner{Kind: api.OwnerProgram, Program: "nginx (pid 1)"}
			return p
		}
		for id, other := range f.instances {
			for _, o := range other.Services {
				if id != inst.ServerID && id != replaces && o.PublicPort == s.PublicPort {
					p.Owner, p.Detail = &api.PortOwner{Kind: api.OwnerInstance, ServerID: id}, p.Detail+" by instance "+id
					return p
				}
			}
		}
	}
	return nil
}

// render makes the client's config. What it contains is of no matter here, but that it differs and holds a secret.
func (i *fakeInstance) render() {
	i.config = i.rendered(i.HostIP)
	i.ClientConfigSHA256 = sum(i.config)
}

// rendered is the client's config, for a game at hostIP.
func (i *fakeInstance) rendered(hostIP string) string {
	c := rathole.ClientConfig{RemoteAddr: fmt.Sprintf("127.0.0.1:%d", i.RatholePort), Services: map[string]rathole.ClientService{}}
	for name, s := range i.Services {
		host := s.LocalHost
		if host == i.HostIP {
			host = hostIP
		}
		for _, p := range s.Protocols {
			c.Services[rathole.ServiceName(name, p)] = rathole.ClientService{
				Type: p, Token: secret.New(fmt.Sprintf("%s%d", tunnelSecret, i.Revision)), LocalAddr: net.JoinHostPort(host, strconv.Itoa(s.LocalPort)),
			}
		}
	}
	text, err := c.Encode()
	if err != nil {
		return err.Error() // no client takes it, and the test that asked for it fails
	}
	return fmt.Sprintf("# %s uid %s transport %s\n%s", i.ServerID, i.UID, i.Transport, text)
}
