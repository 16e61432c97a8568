package manager

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"reflect"
	"slices"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/probe"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// The limits of what an instance may carry. They bound a record's size; games need a handful of ports.
const (
	maxLabelKey   = 63
	maxLabelValue = 255
)

const defaultHostIP = "127.0.0.1"

// spec is an instance's specification after defaults, and what the manager decided for it: the owner's part of a record.
type spec struct {
	Services   map[string]api.Service `json:"services"`
	GamePort   int                    `json:"game_port,omitempty"` // set if the caller used it instead of Services
	BeaconPort int                    `json:"beacon_port,omitempty"`
	Probe      api.ProbeKind          `json:"probe,omitempty"` // with GamePort, of the service game
	HostIP     string                 `json:"host_ip"`
	AgentURL   string                 `json:"agent_url,omitempty"`
	Labels     map[string]string      `json:"labels,omitempty"`
	Transport  api.Transport          `json:"transport"`
	Enabled    bool                   `json:"enabled"`

	ControlPort  int     `json:"control_port"`
	Secrets      secrets `json:"secrets"`
	ClientConfig string  `json:"client_config"` // kept: rendered anew only when the specification changes
	CreateKey    string  `json:"create_key,omitempty"`
}

// resolve fills in the defaults of a request. Public ports that the request leaves out stay what they are in before (nil
// for a new instance), or 0: to be chosen.
func resolve(req api.InstanceSpec, before *spec) spec {
	s := spec{
		Services: map[string]api.Service{},
		GamePort: req.GamePort, BeaconPort: req.BeaconPort, Probe: req.Probe,
		HostIP: req.HostIP, AgentURL: req.AgentURL, Labels: maps.Clone(req.Labels), Transport: req.Transport,
		Enabled: req.Enabled == nil || *req.Enabled,
	}
	if s.HostIP == "" {
		s.HostIP = defaultHostIP
	}
	if s.Transport == "" {
		s.Transport = api.TransportTCP
	}
	if len(s.Labels) == 0 {
		s.Labels = nil // equal whether left out or empty
	}
	for name, port := range map[string]int{api.GameService: req.GamePort, api.BeaconService: req.BeaconPort} {
		if port != 0 {
			s.Services[name] = api.Service{
				Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: port, PublicPort: port, LocalHost: s.HostIP,
			}
		}
	}
	if game, ok := s.Services[api.GameService]; ok {
		game.Probe = req.Probe
		s.Services[api.GameService] = game
	}
	asked := map[int]bool{}
	for _, svc := range req.Services {
		asked[svc.PublicPort] = true
	}
	for name, svc := range req.Services {
		one := api.Service{
			Protocols: slices.Clone(svc.Protocols), LocalPort: svc.LocalPort, PublicPort: svc.PublicPort, LocalHost: svc.LocalHost, Probe: svc.Probe,
		}
		slices.Sort(one.Protocols)
		if one.LocalHost == "" {
			one.LocalHost = s.HostIP
		}
		// It keeps the port that it had, unless another service of this request asks for that one.
		if kept := before.publicPort(name); one.PublicPort == 0 && !asked[kept] {
			one.PublicPort = kept
		}
		s.Services[name] = one
	}
	return s
}

// publicPort is the public port of a service, 0 if there is none.
func (s *spec) publicPort(service string) int {
	if s == nil {
		return 0
	}
	return s.Services[service].PublicPort
}

// same tells whether two specifications are equal after defaults. What the manager decided does not count, but for
// public ports: resolve has taken over those that the request leaves out.
func (s spec) same(t spec) bool {
	strip := func(x spec) spec {
		x.ControlPort, x.Secrets, x.ClientConfig, x.CreateKey = 0, secrets{}, "", ""
		return x
	}
	return reflect.DeepEqual(strip(s), strip(t))
}

// withoutProbes is s as far as an engine is concerned.
func (s spec) withoutProbes() spec {
	s.Probe = ""
	s.Services = maps.Clone(s.Services)
	for name, svc := range s.Services {
		svc.Probe = ""
		s.Services[name] = svc
	}
	return s
}

// sockets lists what the instance listens on, with the service of each; the control port's is empty.
func (s spec) sockets() map[socket]string {
	all := map[socket]string{{s.ControlPort, api.TCP}: ""}
	for name, svc := range s.Services {
		for _, proto := range svc.Protocols {
			all[socket{svc.PublicPort, proto}] = name
		}
	}
	return all
}

// engineServices is how many services the engine runs: one for each protocol of each service.
func (s spec) engineServices() int {
	n := 0
	for _, svc := range s.Services {
		n += len(svc.Protocols)
	}
	return n
}

// publicPortField is where a service's public port stands in a request.
func (s spec) publicPortField(service string) string {
	if s.GamePort != 0 {
		return service + "_port"
	}
	return "services." + service + ".public_port"
}

// checkID checks an instance's name.
func checkID(id, location string) []api.FieldError {
	if rathole.ValidServerID(id) {
		return nil
	}
	return []api.FieldError{{
		Location: location, Value: shorten(id),
		Message: "server_id must be a letter or digit followed by up to 63 letters, digits, - or _",
	}}
}

// check finds what is wrong with a request that its types alone do not tell.
func (m *Manager) check(req api.InstanceSpec) []api.FieldError {
	var found fieldErrors
	switch {
	case req.GamePort == 0 && req.BeaconPort != 0:
		found.add("body.beacon_port", "beacon_port needs game_port beside it", req.BeaconPort)
	case req.GamePort == 0 && len(req.Services) == 0:
		found.add("body.game_port", "either game_port or services is required", nil)
	case req.GamePort != 0 && len(req.Services) != 0:
		found.add("body.services", "game_port and services exclude each other: game_port stands for a service named game", nil)
	}
	if req.GamePort != 0 && req.GamePort == req.BeaconPort {
		found.add("body.beacon_port", "beacon_port is the same as game_port", req.BeaconPort)
	}
	m.checkPublic(&found, "body.game_port", req.GamePort)
	m.checkPublic(&found, "body.beacon_port", req.BeaconPort)
	switch {
	case req.Probe != "" && req.GamePort == 0:
		found.add("body.probe", "probe goes with game_port; with services, each has its own", req.Probe)
	case req.Probe != "":
		checkProbe(&found, "body.probe", req.Probe, []api.Protocol{api.TCP, api.UDP})
	}
	m.checkServices(&found, req.Services)
	checkHost(&found, "body.host_ip", req.HostIP)
	checkAgentURL(&found, req.AgentURL)
	for key, value := range req.Labels {
		if key == "" || len(key) > maxLabelKey || len(value) > maxLabelValue {
			found.add("body.labels", fmt.Sprintf("a label's key has 1-%d characters, its value up to %d", maxLabelKey, maxLabelValue), shorten(key))
		}
	}
	return found
}

func (m *Manager) checkServices(found *fieldErrors, services map[string]api.ServiceSpec) {
	seen := map[socket]string{}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		svc, at := services[name], "body.services."+shorten(name)
		if !rathole.ValidService(name) {
			found.add(at, "a service's name is a small letter followed by up to 31 small letters, digits or -", nil)
			continue
		}
		checkHost(found, at+".local_host", svc.LocalHost)
		if svc.LocalPort < 1 || svc.LocalPort > 65535 {
			found.add(at+".local_port", "local_port must be 1 to 65535", svc.LocalPort)
		}
		if len(svc.Protocols) == 0 {
			found.add(at+".protocols", "protocols must name tcp, udp or both", nil)
		}
		m.checkPublic(found, at+".public_port", svc.PublicPort)
		protocols := map[api.Protocol]bool{}
		for _, proto := range svc.Protocols {
			if protocols[proto] || (proto != api.TCP && proto != api.UDP) {
				found.add(at+".protocols", "protocols must name tcp, udp or both, each once", shorten(string(proto)))
				continue
			}
			protocols[proto] = true
			s := socket{svc.PublicPort, proto}
			if other, twice := seen[s]; twice && svc.PublicPort != 0 {
				found.add(at+".public_port", fmt.Sprintf("%d/%s is the public port of service %s as well", svc.PublicPort, proto, other), svc.PublicPort)
			}
			seen[s] = name
		}
		checkProbe(found, at+".probe", svc.Probe, svc.Protocols)
	}
}

// checkPublic checks that a public port, if given, is one that instances may have.
func (m *Manager) checkPublic(found *fieldErrors, location string, port int) {
	switch {
	case port == 0 || within(m.cfg.Public, port):
	case within(m.cfg.Control, port):
		found.add(location, fmt.Sprintf("%d lies in the range of control ports (%s)", port, showAll(m.cfg.Control)), port)
	case port == m.cfg.APIPort:
		found.add(location, fmt.Sprintf("%d is the port of this API", port), port)
	default:
		found.add(location, fmt.Sprintf("%d is not among the public ports of this manager (%s)", port, showAll(m.cfg.Public)), port)
	}
}

// checkHost checks where a game shall be; empty is left to the default. Nobody can dial the unspecified address.
func checkHost(found *fieldErrors, location, host string) {
	ip, err := netip.ParseAddr(host)
	if host != "" && (!rathole.ValidHost(host) || (err == nil && ip.IsUnspecified())) {
		found.add(location, "it must be the IP address or the host name of a machine", shorten(host))
	}
}

// checkProbe checks that a service can be asked in that way; empty is left to the default.
func checkProbe(found *fieldErrors, location string, kind api.ProbeKind, protocols []api.Protocol) {
	over, ok := probe.ProtocolOf(kind)
	switch {
	case kind == "":
	case !ok:
		found.add(location, "probe must be tcp, satisfactory, a2s, minecraft or bedrock", shorten(string(kind)))
	case !slices.Contains(protocols, over):
		found.add(location, fmt.Sprintf("a probe of kind %s goes over %s, which the service does not carry", kind, over), kind)
	}
}

func checkAgentURL(found *fieldErrors, text string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		found.add("body.agent_url", "agent_url must be an http or https URL such as http://host:8081", nil)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		found.add("body.agent_url", "agent_url must hold no user, query or fragment: it is kept and shown in clear", nil)
	}
}

// fieldErrors collects what is wrong with a request.
type fieldErrors []api.FieldError

func (f *fieldErrors) add(location, message string, value any) {
	*f = append(*f, api.FieldError{Location: location, Message: message, Value: value})
}

// shorten bounds what is echoed of a caller's text.
func shorten(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
