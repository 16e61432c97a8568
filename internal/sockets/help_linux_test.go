package sockets

import (
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

func mustFind(t *testing.T, protocol Protocol, want Socket) Socket {
	t.Helper()
	port := int(want.Local.Port())
	found, err := List(t.Context(), Query{
		Protocol: protocol, States: []State{want.State}, Info: true,
		LocalPorts: []api.PortRange{{Start: port, End: port}},
	})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(found, func(s Socket) bool {
		return s.Protocol == protocol && s.State == want.State && s.Local == want.Local && s.Remote == want.Remote &&
			s.V6Only == want.V6Only && s.UID == uint32(os.Getuid()) && s.Inode != 0
	})
	if i < 0 {
		t.Fatalf("%s %+v is not among %+v", protocol, want, found)
	}
	return found[i]
}

func mustTransfer(t *testing.T, from, to net.Conn, n int64) {
	t.Helper()
	if _, err := from.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, to, n); err != nil {
		t.Fatal(err)
	}
}

// await polls for what the kernel does by itself, such as an acknowledgement on its way.
func await(t *testing.T, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func listenTCP(tb testing.TB, network, address string) net.Listener {
	tb.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	return l
}

func listenUDP(tb testing.TB, network, address string) net.PacketConn {
	tb.Helper()
	c, err := net.ListenPacket(network, address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

func accept(tb testing.TB, l net.Listener) net.Conn {
	tb.Helper()
	c, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

func connect(tb testing.TB, network, address string) (server, client net.Conn) {
	tb.Helper()
	l := listenTCP(tb, network, address)
	client, err := net.Dial(network, l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = client.Close() })
	return accept(tb, l), client
}

func addrPort(addr net.Addr) netip.AddrPort {
	ap := netip.MustParseAddrPort(addr.String())
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func all(Socket) bool { return true }
