package sockets

import (
	"net"
	"os"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

func listening(t *testing.T, l net.Listener) Socket {
	t.Helper()
	port := l.Addr().(*net.TCPAddr).Port
	found, err := List(t.Context(), Query{Protocol: api.TCP, States: []State{Listen}, LocalPorts: []api.PortRange{{Start: port, End: port}}})
	if err != nil || len(found) != 1 {
		t.Fatalf("listeners on %d: %v %v", port, found, err)
	}
	return found[0]
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestOwners(t *testing.T) {
	t.Parallel()
	var owners Owners
	first, second := listening(t, listen(t)), listening(t, listen(t))
	ours, parents := owners.Of(os.Getpid(), 0), owners.Of(os.Getppid(), 0)
	for _, s := range []Socket{first, second, first} {
		if !ours.Has(s) || ours.Err() != nil {
			t.Errorf("our own socket %d is not ours: %v", s.Inode, ours.Err())
		}
		if parents.Has(s) {
			t.Errorf("our socket %d is our parent's", s.Inode)
		}
	}
	byUser := owners.Of(1, 4711)
	if s := (Socket{Inode: 1, UID: 4711}); !byUser.Has(s) {
		t.Error("a user's socket is not its own")
	}
	if s := (Socket{Inode: 1, UID: 4712}); byUser.Has(s) || byUser.Err() != nil {
		t.Errorf("another user's socket is its own, or /proc was asked: %v", byUser.Err())
	}
	gone := owners.Of(1<<22+1, 0) // above the kernel's largest pid
	if gone.Has(first) || gone.Err() == nil {
		t.Error("a process that does not exist has a socket, or no error")
	}
	// What was known once is not asked again, until it is forgotten.
	owners.known[os.Getpid()].held[42] = struct{}{}
	if !ours.Has(Socket{Inode: 42}) {
		t.Error("a known socket was asked for again")
	}
	owners.Keep(nil)
	if ours.Has(Socket{Inode: 42}) {
		t.Error("a forgotten socket is still known")
	}
}
