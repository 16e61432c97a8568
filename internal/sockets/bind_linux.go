package sockets

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// Bindable opens addr as rathole would, closes it at once, and returns nil if that went well: for TCP with SO_REUSEADDR
// and up to listen, for UDP without it, IPV6_V6ONLY as the system has it. Port 0 asks about the address alone.
//
// The error wraps the errno: EADDRINUSE (ask [Holder] who), EADDRNOTAVAIL (no such address on this machine), EACCES (a
// port below net.ipv4.ip_unprivileged_port_start without CAP_NET_BIND_SERVICE), EAFNOSUPPORT (no IPv6). The answer is
// true for the moment only: anyone may take the port next.
func Bindable(protocol api.Protocol, addr netip.AddrPort) error {
	if protocol != api.TCP && protocol != api.UDP {
		return fmt.Errorf("bind %s: unknown protocol %q", addr, protocol)
	}
	// An engine that is forked while the socket is open would hold a copy of it until its exec, and so keep the port taken
	// after this function has called it free.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()

	fd, err := openSocket(protocol, addr)
	if err != nil {
		return fmt.Errorf("bind %s %s: %w", protocol, addr, err)
	}
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close %s %s: %w", protocol, addr, err)
	}
	return nil
}

// DualStack reports whether a socket on [::] takes IPv4 too, as a test socket tells it. It is false, without an error, when
// net.ipv6.bindv6only = 1 and when the machine has no IPv6.
func DualStack() (bool, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()

	fd, err := openSocket(api.TCP, netip.AddrPortFrom(netip.IPv6Unspecified(), 0))
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open a test socket on [::]: %w", err)
	}
	defer unix.Close(fd)
	only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	if err != nil {
		return false, fmt.Errorf("read IPV6_V6ONLY of a test socket: %w", err)
	}
	return only == 0, nil
}

// openSocket does what tokio's TcpListener::bind and UdpSocket::bind do, which rathole calls.
func openSocket(protocol api.Protocol, addr netip.AddrPort) (fd int, err error) {
	family, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()})
	if addr.Addr().Is4() {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	kind := unix.SOCK_STREAM
	if protocol == api.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if protocol == api.TCP {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return -1, fmt.Errorf("set SO_REUSEADDR: %w", err)
		}
	}
	if err := unix.Bind(fd, to); err != nil {
		return -1, err
	}
	if protocol == api.UDP {
		return fd, nil
	}
	// With SO_REUSEADDR on both sides a bound port can be bound again; the second listen is what fails.
	if err := unix.Listen(fd, 1); err != nil {
		return -1, fmt.Errorf("listen: %w", err)
	}
	return fd, nil
}
