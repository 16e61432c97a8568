package manager

import (
	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
)

// lostBy names the instances that have lost something with these sockets: their client, or a port. Players' connections and
// idle data channels, which come and go, are nothing.
func (p *ports) lostBy(ended []sockets.Socket) []string {
	var ids []string
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range ended {
		h, ours := p.held[socket{int(s.Local.Port()), s.Protocol}]
		if !ours {
			continue
		}
		// Its peer's FIN counts as a byte.
		control := h.service == "" && s.Protocol == api.TCP &&
			(engine.MayBeControlChannel(s.BytesReceived) || engine.MayBeControlChannel(s.BytesReceived-1))
		if s.Remote.Port() == 0 || control {
			ids = append(ids, h.id)
		}
	}
	return ids
}
