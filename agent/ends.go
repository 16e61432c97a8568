package agent

import (
	"net/netip"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
)

// ends tells whose sockets have ended.
type ends struct {
	list  func() []view
	games *games

	listed  []view           // what follows was made of it
	dialled map[int][]string // clients by the port that they dial
	local   map[localPort][]string
}

// localPort is a port to which services point, on whatever address.
type localPort struct {
	port     int
	protocol api.Protocol
}

// lostBy names the clients that have lost something with these sockets: their server, or what their services point to.
// Players' connections and idle data channels, which come and go, are nothing.
func (e *ends) lostBy(ended []sockets.Socket) []string {
	e.games.ended(ended)
	var ids []string
	for _, s := range ended {
		switch {
		case s.Remote.Port() == 0:
			ids = append(ids, e.index().local[localPort{int(s.Local.Port()), s.Protocol}]...)
		// Its own SYN counts as a byte, and so does its FIN.
		case s.Protocol == api.TCP && (engine.MayBeControlChannel(s.BytesAcked-dialledSYN) || engine.MayBeControlChannel(s.BytesAcked-dialledSYN-1)):
			ids = append(ids, e.index().dialled[int(s.Remote.Port())]...)
		}
	}
	return ids
}

func (e *ends) index() *ends {
	views := e.list()
	if e.local != nil && isSame(views, e.listed) {
		return e
	}
	e.listed, e.dialled, e.local = views, map[int][]string{}, map[localPort][]string{}
	for _, v := range views {
		id, s := v.Record.ID, v.Record.Spec
		e.dialled[s.remotePort()] = append(e.dialled[s.remotePort()], id)
		for _, svc := range s.Services {
			if addr, err := svc.address(); err == nil {
				at := localPort{int(addr.Port()), svc.Protocol}
				e.local[at] = append(e.local[at], id)
			}
		}
	}
	return e
}

// address is where a service points, if that is an address.
func (t target) address() (netip.AddrPort, error) {
	return netip.ParseAddrPort(strings.Replace(t.LocalAddr, "localhost:", "127.0.0.1:", 1))
}
