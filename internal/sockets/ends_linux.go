package sockets

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// The groups of sock_diag's multicast (include/uapi/linux/sock_diag.h): SKNLGRP_INET_TCP_DESTROY, INET_UDP, INET6_TCP and
// INET6_UDP. Everybody may listen.
const endGroups = 1<<0 | 1<<1 | 1<<2 | 1<<3

const (
	// endsBuffer is how many bytes of news the kernel keeps: some thousand sockets, where it is granted.
	endsBuffer = 4 << 20
	// endsPause is how long news are left to gather after some have come, so that a crowd that leaves costs a few wakes.
	endsPause = 50 * time.Millisecond
	// maxEnds bounds how many are told of at once.
	maxEnds = 10_000
	// attributeProtocol is INET_DIAG_PROTOCOL: u8.
	attributeProtocol = 10
)

// Ends has the kernel tell of every TCP and UDP socket of this network namespace as it is destroyed, until ctx ends: told is
// called with those that have ended since the last call, or with missed when there were more than the kernel could keep.
//
// Such a socket has its addresses and counters (no RTT of use), but neither Inode nor UID any more. Its State is Close, or
// Established if it is a UDP socket that was connected. A TCP connection ends here when the kernel lets go of it: at once when it was reset or
// timed out, and when it was closed once the peer has agreed, or has not within a minute.
//
// Errors: as of [List].
func Ends(ctx context.Context, told func(ended []Socket, missed bool)) error {
	news, err := openEnds()
	if err != nil {
		return fmt.Errorf("be told of sockets that end: %w", err)
	}
	defer news.Close()
	stop := context.AfterFunc(ctx, func() { _ = news.SetReadDeadline(time.Now()) })
	defer stop()
	conn, err := news.SyscallConn()
	if err != nil {
		return err
	}
	r := endReader{buf: make([]byte, receiveBuffer)}
	for {
		err := conn.Read(r.next) // waits for the first
		if err == nil && gather(ctx) {
			err = conn.Control(r.all)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := errors.Join(err, r.err); err != nil {
			return fmt.Errorf("be told of sockets that end: %w", err)
		}
		told(r.ended, r.missed)
		r.ended, r.missed = nil, false
	}
}

// gather waits until more may have come; false if ctx ended first.
func gather(ctx context.Context) bool {
	t := time.NewTimer(endsPause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func openEnds() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// The first is for who may (CAP_NET_ADMIN), the second is capped by net.core.rmem_max. A small buffer serves too.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, endsBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, endsBuffer)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: endGroups}); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "sock_diag"), nil
}

// endReader takes the news from their socket.
type endReader struct {
	buf    []byte
	ended  []Socket
	missed bool
	err    error
}

// next takes one piece of news; false if there is none.
func (r *endReader) next(fd uintptr) bool {
	n, err := unix.Read(int(fd), r.buf)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return false
	case errors.Is(err, unix.EINTR):
	case errors.Is(err, unix.ENOBUFS):
		r.missed = true
	case err != nil:
		r.err = os.NewSyscallError("read", err)
	default:
		_, _, r.err = walk(r.buf[:n], func(body []byte) error {
			s, err := parseEnd(body)
			r.ended = append(r.ended, s)
			return err
		})
	}
	return true
}

// all takes what is there, up to maxEnds: more than that is told the next time.
func (r *endReader) all(fd uintptr) {
	for more := true; more && r.err == nil && len(r.ended) < maxEnds; {
		more = r.next(fd)
	}
}

// parseEnd reads the body of a message of a socket's end, which names its protocol.
func parseEnd(body []byte) (Socket, error) {
	s, err := parse(body, api.TCP)
	if err == nil && protocolOf(body[messageSize:]) == unix.IPPROTO_UDP {
		s.Protocol = api.UDP
	}
	return s, err
}

func protocolOf(attributes []byte) byte {
	for len(attributes) > attributeHeaderSize {
		size, kind := int(binary.NativeEndian.Uint16(attributes)), binary.NativeEndian.Uint16(attributes[2:])
		if kind == attributeProtocol {
			return attributes[attributeHeaderSize]
		}
		attributes = attributes[min(max((size+3)&^3, attributeHeaderSize), len(attributes)):]
	}
	return 0
}
