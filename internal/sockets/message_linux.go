package sockets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// The kernel's messages, include/uapi/linux/inet_diag.h. Ports and addresses are in network order, all else in the
// machine's. A sockid, 48 bytes, is sport u16, dport u16, src 16 bytes, dst 16 bytes, if u32, cookie u64; in a request it
// stays zero, which asks for all.
const (
	// TCPDIAG_GETSOCK takes struct inet_diag_req: family u8 (ignored), src_len u8, dst_len u8, ext u8, sockid, states u32,
	// dbs u32.
	typeTCP         = netlink.HeaderType(18)
	tcpRequestSize  = 60
	offsetTCPExt    = 3
	offsetTCPStates = 52

	// SOCK_DIAG_BY_FAMILY takes struct inet_diag_req_v2: family u8, protocol u8, ext u8, pad u8, states u32, sockid.
	typeByFamily       = netlink.HeaderType(unix.SOCK_DIAG_BY_FAMILY)
	familyRequestSize  = 56
	offsetFamilyProto  = 1
	offsetFamilyStates = 4

	// Both answer with struct inet_diag_msg: family u8, state u8, timer u8, retrans u8, sockid, expires u32, rqueue u32,
	// wqueue u32, uid u32, inode u32.
	messageSize      = 72
	offsetFamily     = 0
	offsetState      = 1
	offsetLocalPort  = 4
	offsetRemotePort = 6
	offsetLocal      = 8
	offsetRemote     = 24
	offsetUID        = 64
	offsetInode      = 68

	// Attributes, {length u16, type u16, value}, follow either.
	attributeHeaderSize = 4
	attributeBytecode   = 1  // INET_DIAG_REQ_BYTECODE, in a request
	attributeInfo       = 2  // INET_DIAG_INFO: struct tcp_info, as much of it as the kernel knows
	attributeV6Only     = 11 // INET_DIAG_SKV6ONLY: u8

	offsetRTT           = int(unsafe.Offsetof(unix.TCPInfo{}.Rtt)) // u32, in microseconds
	offsetBytesAcked    = int(unsafe.Offsetof(unix.TCPInfo{}.Bytes_acked))
	offsetBytesReceived = int(unsafe.Offsetof(unix.TCPInfo{}.Bytes_received))
	offsetLastReceived  = int(unsafe.Offsetof(unix.TCPInfo{}.Last_data_recv)) // milliseconds
	offsetLastAcked     = int(unsafe.Offsetof(unix.TCPInfo{}.Last_ack_recv))
)

var errMalformed = errors.New("malformed sock_diag message")

// requests renders the dumps that answer q: both address families, filtered by the bytecode.
//
// The dump of TCP's table walks every bucket of its hash table (262,144 on a machine of 24 GiB: 0.3 ms) even for one port.
// The older request TCPDIAG_GETSOCK covers IPv4 and IPv6 in one walk; its successor, the only one that knows UDP, needs one
// for each.
func requests(q Query, filter []byte) []netlink.Message {
	if q.Protocol == api.TCP {
		b := make([]byte, tcpRequestSize, tcpRequestSize+attributeHeaderSize+len(filter))
		if q.Info {
			b[offsetTCPExt] = 1 << (attributeInfo - 1)
		}
		binary.NativeEndian.PutUint32(b[offsetTCPStates:], stateMask(q.States))
		return []netlink.Message{dumpRequest(typeTCP, b, filter)}
	}
	messages := make([]netlink.Message, 0, 2)
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		b := make([]byte, familyRequestSize, familyRequestSize+attributeHeaderSize+len(filter))
		b[offsetFamily], b[offsetFamilyProto] = family, unix.IPPROTO_UDP
		binary.NativeEndian.PutUint32(b[offsetFamilyStates:], stateMask(q.States))
		messages = append(messages, dumpRequest(typeByFamily, b, filter))
	}
	return messages
}

func dumpRequest(kind netlink.HeaderType, body, filter []byte) netlink.Message {
	if len(filter) > 0 {
		body = binary.NativeEndian.AppendUint16(body, uint16(attributeHeaderSize+len(filter)))
		body = binary.NativeEndian.AppendUint16(body, attributeBytecode)
		body = append(body, filter...)
	}
	return netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Dump}, Data: body}
}

func stateMask(states []State) uint32 {
	if len(states) == 0 {
		return ^uint32(0)
	}
	var mask uint32
	for _, s := range states {
		mask |= 1 << s
	}
	return mask
}

// parse reads the body of one message of a dump. Attributes that it does not know are skipped; one that does not fit into
// the message is an error, and so is a message too short for its fixed part.
func parse(b []byte, protocol Protocol) (Socket, error) {
	if len(b) < messageSize {
		return Socket{}, fmt.Errorf("%w: %d bytes", errMalformed, len(b))
	}
	s := Socket{
		Protocol: protocol,
		State:    State(b[offsetState]),
		UID:      binary.NativeEndian.Uint32(b[offsetUID:]),
		Inode:    uint64(binary.NativeEndian.Uint32(b[offsetInode:])),
	}
	var local, remote netip.Addr
	switch b[offsetFamily] {
	case unix.AF_INET:
		local = netip.AddrFrom4([4]byte(b[offsetLocal:]))
		remote = netip.AddrFrom4([4]byte(b[offsetRemote:]))
	case unix.AF_INET6:
		local = netip.AddrFrom16([16]byte(b[offsetLocal:])).Unmap()
		remote = netip.AddrFrom16([16]byte(b[offsetRemote:])).Unmap()
	default:
		return Socket{}, fmt.Errorf("%w: address family %d", errMalformed, b[offsetFamily])
	}
	s.Local = netip.AddrPortFrom(local, binary.BigEndian.Uint16(b[offsetLocalPort:]))
	s.Remote = netip.AddrPortFrom(remote, binary.BigEndian.Uint16(b[offsetRemotePort:]))
	return s, s.parseAttributes(b[messageSize:])
}

func (s *Socket) parseAttributes(b []byte) error {
	for len(b) > 0 {
		if len(b) < attributeHeaderSize {
			return fmt.Errorf("%w: %d bytes behind the last attribute", errMalformed, len(b))
		}
		size, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if size < attributeHeaderSize || size > len(b) {
			return fmt.Errorf("%w: attribute %d has length %d of %d", errMalformed, kind, size, len(b))
		}
		value := b[attributeHeaderSize:size]
		switch kind {
		case attributeV6Only:
			s.V6Only = len(value) > 0 && value[0] != 0
		case attributeInfo:
			s.BytesAcked = uint64At(value, offsetBytesAcked)
			s.BytesReceived = uint64At(value, offsetBytesReceived)
			s.LastReceived, s.LastAcked = millisecondsAt(value, offsetLastReceived), millisecondsAt(value, offsetLastAcked)
			if len(value) >= offsetRTT+4 {
				s.RTT = time.Duration(binary.NativeEndian.Uint32(value[offsetRTT:])) * time.Microsecond
			}
		}
		// Attributes start at multiples of 4; the last one may come without its padding.
		b = b[min((size+3)&^3, len(b)):]
	}
	return nil
}

// uint64At reads a field of a struct that older kernels send shorter; what they do not send is 0.
func uint64At(b []byte, offset int) uint64 {
	if len(b) < offset+8 {
		return 0
	}
	return binary.NativeEndian.Uint64(b[offset:])
}

// millisecondsAt reads a time that is given in milliseconds, as uint64At reads a counter.
func millisecondsAt(b []byte, offset int) time.Duration {
	if len(b) < offset+4 {
		return 0
	}
	return time.Duration(binary.NativeEndian.Uint32(b[offset:])) * time.Millisecond
}
