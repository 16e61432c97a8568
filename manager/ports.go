package manager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
)

// socket names a port of one protocol on the manager's bind address.
type socket struct {
	port     int
	protocol api.Protocol
}

// holder is who has a socket by record: an instance, for a service or (empty) as its control port.
type holder struct {
	id      string
	service string
}

// ports tells which instance has which port. It is derived from the records: built from them at start-up, and changed
// only together with them. A port is free if and only if no record names it.
type ports struct {
	bind    netip.Addr
	control []api.PortRange
	public  []api.PortRange
	// preferred is where public ports are chosen: first 20001-32767, above the default control ports and below Linux's
	// ephemeral ports, where a connected UDP socket of anyone blocks a bind; the ephemeral ones last.
	preferred []api.PortRange
	ephemeral api.PortRange

	mu       sync.Mutex
	held     map[socket]holder
	control0 int // offset among the control ports where the next search begins
	public0  int // likewise among the preferred public ports
}

func newPorts(c Config, ephemeral api.PortRange) *ports {
	below := api.PortRange{Start: 20001, End: 32767}
	first := subtractAll(intersect(c.Public, below), ephemeral)
	outside := subtractAll(c.Public, below, ephemeral)
	inside := intersect(c.Public, ephemeral)
	return &ports{
		bind: c.Bind, control: c.Control, public: c.Public,
		preferred: slices.Concat(first, outside, inside), ephemeral: ephemeral,
		held: map[socket]holder{},
	}
}

func subtractAll(ranges []api.PortRange, holes ...api.PortRange) []api.PortRange {
	var left []api.PortRange
	for _, r := range ranges {
		left = append(left, subtract(r, holes)...)
	}
	return left
}

// adopt notes the ports of a record that exists. The first to name a port keeps it.
func (p *ports) adopt(id string, wanted map[socket]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s, service := range wanted {
		if _, taken := p.held[s]; !taken {
			p.held[s] = holder{id: id, service: service}
		}
	}
}

// release gives back every port of an instance but those in keep.
func (p *ports) release(id string, keep map[socket]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.held, func(s socket, h holder) bool {
		_, kept := keep[s]
		return h.id == id && !kept
	})
}

// claim is what an instance wants of ports.
type claim struct {
	id       string
	replaces string // with dry: an instance whose ports count as free
	control  int    // the control port that it has, 0 for a new one
	services map[string]api.Service
	field    func(service string) string // where a service's public port stands in the request
	dry      bool                        // only ask
}

// frees tells of a holder whose ports count as free: the instance whose place this one would take.
func (c claim) frees(h holder) bool { return c.dry && h.id == c.replaces }

// reserve takes the ports of an instance's services, all or nothing, and returns the control port. Public ports that are
// 0 are chosen, and written into the claim's services. What the instance holds already counts as free. A refusal is an
// *api.Problem.
func (p *ports) reserve(ctx context.Context, c claim) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken, err := p.explicit(ctx, c)
	if err != nil {
		return 0, err
	}
	for _, name := range slices.Sorted(maps.Keys(c.services)) {
		svc := c.services[name]
		if svc.PublicPort != 0 {
			continue
		}
		port, ok, err := p.choose(c, p.preferred, &p.public0, svc.Protocols, taken)
		if err != nil {
			return 0, err
		}
		if !ok {
			return 0, exhausted("public", p.public, "RATHOLE_PUBLIC_PORTS")
		}
		svc.PublicPort = port
		c.services[name] = svc
		for _, proto := range svc.Protocols {
			taken[socket{port, proto}] = holder{c.id, name}
		}
	}
	control := c.control
	if control == 0 {
		port, ok, err := p.choose(c, p.control, &p.control0, []api.Protocol{api.TCP}, taken)
		if err != nil {
			return 0, err
		}
		if !ok {
			return 0, exhausted("control", p.control, "RATHOLE_PORT_START/RATHOLE_PORT_END")
		}
		control = port
		taken[socket{port, api.TCP}] = holder{id: c.id}
	}
	if !c.dry {
		maps.Copy(p.held, taken)
	}
	return control, nil
}

// explicit checks the public ports that the claim names.
func (p *ports) explicit(ctx context.Context, c claim) (map[socket]holder, error) {
	taken := map[socket]holder{}
	for _, name := range slices.Sorted(maps.Keys(c.services)) {
		svc := c.services[name]
		if svc.PublicPort == 0 {
			continue
		}
		for _, proto := range svc.Protocols {
			s := socket{svc.PublicPort, proto}
			h, held := p.held[s]
			if held && h.id != c.id && !c.frees(h) {
				return nil, instanceHas(s, h, c.field(name))
			}
			if !held {
				if err := p.probe(ctx, s, c.field(name)); err != nil {
					return nil, err
				}
			}
			taken[s] = holder{c.id, name}
		}
	}
	return taken, nil
}

// choose finds a port that nobody has, going round from where the last search ended: a port that was just freed, and may
// still be in somebody's configuration, is the last to be given again. An error is about no port: none could be tried.
func (p *ports) choose(c claim, ranges []api.PortRange, from *int, protocols []api.Protocol, taken map[socket]holder) (port int, ok bool, err error) {
	total := count(ranges)
	for i := range total {
		at := (*from + i) % total
		port := nth(ranges, at)
		free := !slices.ContainsFunc(protocols, func(proto api.Protocol) bool {
			s := socket{port, proto}
			if _, now := taken[s]; now {
				return true
			}
			if h, held := p.held[s]; held {
				return !c.frees(h) // its own engine is what listens there
			}
			refused := sockets.Bindable(proto, netip.AddrPortFrom(p.bind, uint16(port)))
			if engine.Exhausted(refused) {
				err = refused
			}
			return refused != nil
		})
		if err != nil {
			return 0, false, err
		}
		if free {
			*from = at + 1
			return port, true, nil
		}
	}
	return 0, false, nil
}

func nth(ranges []api.PortRange, n int) int {
	for _, r := range ranges {
		size := r.End - r.Start + 1
		if n < size {
			return r.Start + n
		}
		n -= size
	}
	return 0
}

// probe asks the kernel whether an explicit public port can be bound, by any program's leave, and names who has it.
func (p *ports) probe(ctx context.Context, s socket, field string) error {
	addr := netip.AddrPortFrom(p.bind, uint16(s.port))
	err := sockets.Bindable(s.protocol, addr)
	if err == nil || engine.Exhausted(err) {
		return err
	}
	problem := &api.Problem{
		Status: http.StatusConflict, Code: api.CodePortInUse,
		Errors: []api.FieldError{{Location: "body." + field, Message: err.Error(), Value: s.port}},
	}
	if !errors.Is(err, unix.EADDRINUSE) {
		problem.Detail = fmt.Sprintf("public port %d/%s cannot be bound: %v", s.port, s.protocol, err)
		return problem
	}
	owner := "another program"
	problem.Owner = &api.PortOwner{Kind: api.OwnerProgram}
	if h, found, err := sockets.Holder(ctx, s.protocol, addr); err == nil && found && h.PID != 0 {
		owner = fmt.Sprintf("%s (pid %d)", h.Program, h.PID)
		problem.Owner.Program = owner
	}
	problem.Detail = fmt.Sprintf("public port %d/%s is in use by %s on this machine: stop it, or choose another port", s.port, s.protocol, owner)
	return problem
}

func instanceHas(s socket, h holder, field string) *api.Problem {
	what := "a public port of its service " + h.service
	if h.service == "" {
		what = "its control port"
	}
	return &api.Problem{
		Status: http.StatusConflict, Code: api.CodePortInUse,
		Detail: fmt.Sprintf("port %d/%s belongs to instance %s (%s): choose another port, or remove that instance", s.port, s.protocol, h.id, what),
		Errors: []api.FieldError{{Location: "body." + field, Message: "in use by instance " + h.id, Value: s.port}},
		Owner:  &api.PortOwner{Kind: api.OwnerInstance, ServerID: h.id},
	}
}

func exhausted(kind string, ranges []api.PortRange, setting string) *api.Problem {
	return &api.Problem{
		Status: http.StatusInsufficientStorage, Code: api.CodePortsExhausted,
		Detail: fmt.Sprintf("all %d %s ports (%s) are in use: remove instances, or widen %s", count(ranges), kind, showAll(ranges), setting),
	}
}

// describe lists ranges and uses, for GET /api/ports.
func (p *ports) describe() api.Ports {
	p.mu.Lock()
	defer p.mu.Unlock()
	type use struct {
		port int
		holder
	}
	protocols := map[use][]api.Protocol{}
	for s, h := range p.held {
		protocols[use{s.port, h}] = append(protocols[use{s.port, h}], s.protocol)
	}
	out := api.Ports{Control: pool(p.control), Public: pool(p.public)}
	for u, protos := range protocols {
		slices.Sort(protos)
		one := api.PortUse{Port: u.port, Protocols: protos, ServerID: u.id, Service: u.service}
		if u.service == "" {
			out.Control.Uses = append(out.Control.Uses, one)
		} else {
			out.Public.Uses = append(out.Public.Uses, one)
		}
	}
	for _, pl := range []*api.PortPool{&out.Control, &out.Public} {
		slices.SortFunc(pl.Uses, func(a, b api.PortUse) int {
			return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Service, b.Service))
		})
		used := map[int]bool{}
		for _, u := range pl.Uses {
			used[u.Port] = within(pl.Ranges, u.Port)
		}
		for _, inRange := range used {
			if inRange {
				pl.Allocated++
			}
		}
		pl.Free = pl.Total - pl.Allocated
	}
	return out
}

// usage is how much of a range is allocated.
type usage struct {
	kind      string // control or public
	ports     api.PortRange
	allocated int
}

// usages counts, range by range, the numbers that records name.
func (p *ports) usages() []usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	control, public := map[int]struct{}{}, map[int]struct{}{}
	for s, h := range p.held {
		if h.service == "" {
			control[s.port] = struct{}{}
		} else {
			public[s.port] = struct{}{}
		}
	}
	var all []usage
	add := func(kind string, ranges []api.PortRange, held map[int]struct{}) {
		for _, r := range ranges {
			u := usage{kind: kind, ports: r}
			for port := range held {
				if contains(r, port) {
					u.allocated++
				}
			}
			all = append(all, u)
		}
	}
	add("control", p.control, control)
	add("public", p.public, public)
	return all
}

func pool(ranges []api.PortRange) api.PortPool {
	return api.PortPool{Ranges: ranges, Total: count(ranges), Uses: []api.PortUse{}}
}
