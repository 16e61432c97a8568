package sockets

import (
	"net/netip"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// Protocol is api.TCP or api.UDP.
type Protocol = api.Protocol

// State is the state of a socket, with the kernel's own numbers (include/net/tcp_states.h).
type State uint8

// The states of TCP. UDP borrows two of them: a connected UDP socket is Established, any other is Close.
const (
	Established State = 1
	SynSent     State = 2
	SynRecv     State = 3
	FinWait1    State = 4
	FinWait2    State = 5
	TimeWait    State = 6
	Close       State = 7
	CloseWait   State = 8
	LastAck     State = 9
	Listen      State = 10
	Closing     State = 11
	// BoundInactive is a TCP socket that is bound and neither listens nor connects; told by Linux 6.8 and later.
	BoundInactive State = 13
)

// Socket is one socket as the kernel described it at one moment.
type Socket struct {
	Protocol Protocol
	State    State
	// Local and Remote are unmapped: a dual-stack socket's IPv4 peer reads 192.0.2.1, not ::ffff:192.0.2.1. Remote has port
	// 0 when the socket has no peer. The zone of a link-local address is not given.
	Local, Remote netip.AddrPort
	// V6Only says that an IPv6 socket takes no IPv4 (IPV6_V6ONLY). The kernel tells it in the states Listen, Close and
	// BoundInactive; elsewhere it is false.
	V6Only bool
	// UID is the user that made the socket, in the user namespace of this process; 0 also for TimeWait and SynRecv, which
	// belong to nobody.
	UID uint32
	// Inode is the N of the "socket:[N]" that /proc/<pid>/fd shows; 0 when no process holds the socket any more.
	Inode uint64
	// BytesReceived and BytesAcked are tcp_info's counters of payload: received in order from the peer, and sent and
	// acknowledged by it. The side that connected counts its SYN as one byte acknowledged. Set for TCP with Query.Info
	// (Linux 4.1 and later) and not while listening.
	BytesReceived, BytesAcked uint64
	// LastReceived and LastAcked are for how long no data has come from the peer, and no acknowledgement. Set like the
	// counters.
	LastReceived, LastAcked time.Duration
	// RTT is tcp_info's smoothed round-trip time: how long the peer took to acknowledge, of late. Set for TCP with Query.Info
	// and not while listening; 0 if nothing was acknowledged yet.
	RTT time.Duration
}

// Nearest is the smallest round-trip time of sockets; 0 if none is known.
func Nearest(list []Socket) time.Duration {
	var nearest time.Duration
	for _, s := range list {
		if s.RTT > 0 && (nearest == 0 || s.RTT < nearest) {
			nearest = s.RTT
		}
	}
	return nearest
}

// Query says which sockets [List] returns. The zero value of every field but Protocol means "all".
type Query struct {
	Protocol Protocol
	States   []State
	// LocalPorts and RemotePorts are inclusive and may overlap. The kernel filters by them, so that a query for a few ports
	// among thousands of sockets stays cheap; what lies outside 0 to 65535 matches nothing.
	LocalPorts, RemotePorts []api.PortRange
	// Info asks for tcp_info: the counters, the times since, and RTT. It triples the length of the answer.
	Info bool
	// Keep says of each socket whether it is wanted; nil: all are. What is not is never stored.
	Keep func(Socket) bool
}

// Owner is who holds a socket.
type Owner struct {
	Socket Socket
	// PID is the lowest process id among those that hold the socket; 0 when it is not visible from here: another user's
	// process, another PID namespace, or a connection that the kernel is still closing for a program that is gone.
	PID int
	// Program is the name of that process as /proc/<pid>/comm gives it (at most 15 bytes); empty when PID is 0.
	Program string
}

// Overlaps reports whether two local addresses get in each other's way on one port of one protocol: they are the same, or
// one of them is a wildcard. It is cautious where the kernel is not: "[::]" overlaps IPv4 although a socket with
// IPV6_V6ONLY would not, and "0.0.0.0" overlaps every IPv6 address, so that no plan rests on how sockets are opened.
func Overlaps(a, b netip.Addr) bool {
	a, b = a.Unmap().WithZone(""), b.Unmap().WithZone("")
	return a == b || a.IsUnspecified() || b.IsUnspecified()
}
