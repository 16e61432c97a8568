package sockets

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// dumpAttempts bounds how often a dump is asked for anew when the kernel says that its table changed underneath.
const dumpAttempts = 4

var errDumpInterrupted = errors.New("the socket table kept changing during the dump")

// List returns the sockets of both address families that q asks for, in no particular order.
//
// A dump is no snapshot: a socket that is opened or closed while it runs may be missing, and one whose neighbour in the
// kernel's table comes or goes may, rarely, be missing or listed twice (by its Inode). One odd answer is no fact.
//
// Errors: the context's; ENOENT when the kernel has no tcp_diag or udp_diag and cannot load it; EPERM or EAFNOSUPPORT when
// a sandbox forbids AF_NETLINK.
func List(ctx context.Context, q Query) ([]Socket, error) {
	if q.Protocol != api.TCP && q.Protocol != api.UDP {
		return nil, fmt.Errorf("list sockets: unknown protocol %q", q.Protocol)
	}
	local, remote := newPortSet(q.LocalPorts), newPortSet(q.RemotePorts)
	keep := func(s Socket) bool {
		return local.contains(s.Local.Port()) && remote.contains(s.Remote.Port()) && (q.Keep == nil || q.Keep(s))
	}
	found, err := ask(ctx, q.Protocol, requests(q, bytecode(local, remote)), keep)
	if err != nil {
		return nil, fmt.Errorf("list %s sockets: %w", q.Protocol, err)
	}
	return found, nil
}

// ask sends the requests and returns what is to be kept of the kernel's answers.
func ask(ctx context.Context, protocol Protocol, requests []netlink.Message, keep func(Socket) bool) ([]Socket, error) {
	conn, err := openDiag()
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	defer func() { _ = conn.Close() }()

	var found []Socket
	for _, request := range requests {
		found, err = dump(ctx, conn, request, protocol, keep, found)
		if errors.Is(err, unix.ENOENT) {
			return nil, fmt.Errorf("the kernel has no %s_diag (is the module missing?): %w", protocol, err)
		}
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// asker is a diag, or a test's.
type asker interface {
	send(netlink.Message) error
	receive() ([]byte, error)
}

// dump sends one request and appends what is to be kept of the answer to found.
func dump(ctx context.Context, conn asker, request netlink.Message, protocol Protocol, keep func(Socket) bool, found []Socket) ([]Socket, error) {
	before := len(found)
	for range dumpAttempts {
		found = found[:before]
		if err := conn.send(request); err != nil {
			return nil, err
		}
		interrupted := false
		for last := false; !last; {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			piece, err := conn.receive()
			if err != nil {
				return nil, err
			}
			var torn bool
			torn, last, err = walk(piece, func(body []byte) error {
				s, err := parse(body, protocol)
				if err == nil && keep(s) {
					found = append(found, s)
				}
				return err
			})
			if err != nil {
				return nil, err
			}
			interrupted = interrupted || torn
		}
		if !interrupted {
			return found, nil
		}
	}
	return nil, errDumpInterrupted
}
