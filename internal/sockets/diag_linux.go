package sockets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// headerSize is struct nlmsghdr: length u32, type u16, flags u16, sequence u32, port u32.
	headerSize  = 16
	offsetType  = 4
	offsetFlags = 6
	// receiveBuffer is the largest piece in which the kernel sends a dump (netlink_recvmsg caps it there).
	receiveBuffer = 32 << 10
	// answerTimeout bounds a wait that never is: the kernel answers within the calls themselves.
	answerTimeout = 5 // seconds
)

// diag is a sock_diag socket of its own. A manager with 1,000 tunnels reads some 4 MB in each look at them: the netlink
// library's way, by the runtime's poller and with a buffer for each piece, takes twice as long for a port and leaves as
// much garbage again.
type diag struct {
	fd  int
	buf []byte
}

func openDiag() (*diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: answerTimeout})
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("setsockopt", err), unix.Close(fd))
	}
	return &diag{fd: fd, buf: make([]byte, receiveBuffer)}, nil
}

func (d *diag) Close() error { return unix.Close(d.fd) }

// send sends one request.
func (d *diag) send(request netlink.Message) error {
	request.Header.Length = uint32(headerSize + len(request.Data))
	text, err := request.MarshalBinary()
	if err != nil {
		return err
	}
	for {
		err = unix.Sendto(d.fd, text, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("sendto", err)
		}
	}
}

// receive returns the next piece of the answer, which is good until the next call.
func (d *diag) receive() ([]byte, error) {
	for {
		n, _, err := unix.Recvfrom(d.fd, d.buf, 0)
		if !errors.Is(err, unix.EINTR) {
			return d.buf[:max(n, 0)], os.NewSyscallError("recvfrom", err)
		}
	}
}

// walk calls visit with the body of each message in a piece of an answer. last tells that the answer ends with it.
func walk(piece []byte, visit func(body []byte) error) (interrupted, last bool, err error) {
	for len(piece) >= headerSize {
		size := int(binary.NativeEndian.Uint32(piece))
		if size < headerSize || size > len(piece) {
			return false, false, fmt.Errorf("%w: message has length %d of %d", errMalformed, size, len(piece))
		}
		body := piece[headerSize:size]
		interrupted = interrupted || netlink.HeaderFlags(binary.NativeEndian.Uint16(piece[offsetFlags:]))&netlink.DumpInterrupted != 0
		switch netlink.HeaderType(binary.NativeEndian.Uint16(piece[offsetType:])) {
		case netlink.Done:
			// A dump that failed half-way ends so, too.
			return interrupted, true, errnoOf(body)
		case netlink.Error:
			return interrupted, true, errnoOf(body)
		default:
			if err := visit(body); err != nil {
				return interrupted, true, err
			}
		}
		piece = piece[min((size+3)&^3, len(piece)):]
	}
	return interrupted, false, nil
}

// errnoOf reads the number at the beginning of a message of type Done or Error: 0, or a negative errno.
func errnoOf(body []byte) error {
	if len(body) < 4 {
		return nil
	}
	if n := int32(binary.NativeEndian.Uint32(body)); n < 0 {
		return unix.Errno(-n)
	}
	return nil
}
