package agent

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// ownPeriod is how old the list of this machine's addresses may be.
const ownPeriod = 10 * time.Second

// machine knows this machine's addresses, and asks the kernel for them now and then. The zero value is ready for use.
type machine struct {
	mu  sync.Mutex
	own []netip.Addr
	at  time.Time
}

// has tells whether an address is this machine's.
func (m *machine) has(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.at) > ownPeriod {
		m.own, m.at = ownAddresses(), time.Now()
	}
	return slices.Contains(m.own, addr.Unmap())
}
