package sockets

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

func TestHolderFindsThisProcess(t *testing.T) {
	t.Parallel()
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	program := strings.TrimSpace(string(comm))
	tcp, udp := listenTCP(t, "tcp4", "127.0.0.1:0"), listenUDP(t, "udp6", "[::1]:0")
	// Connections of the listener share its port; the listener is the one to name.
	client := dialFrom(t, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(mustFreePort(t, api.TCP))}, tcp.Addr())
	accept(t, tcp)
	peer := dialFrom(t, &net.UDPAddr{IP: net.IPv6loopback, Port: int(mustFreePort(t, api.UDP))}, udp.LocalAddr())
	for name, test := range map[string]struct {
		protocol Protocol
		addr     net.Addr
		state    State
	}{
		"listener":       {api.TCP, tcp.Addr(), Listen},
		"outgoing":       {api.TCP, client.LocalAddr(), Established},
		"udp":            {api.UDP, udp.LocalAddr(), Close},
		"udp, connected": {api.UDP, peer.LocalAddr(), Established},
	} {
		addr := addrPort(test.addr)
		for _, want := range []netip.AddrPort{addr, netip.AddrPortFrom(netip.IPv6Unspecified(), addr.Port())} {
			if err := Bindable(test.protocol, want); !errors.Is(err, unix.EADDRINUSE) {
				t.Errorf("%s: bind %s: %v", name, want, err)
			}
			owner, found, err := Holder(t.Context(), test.protocol, want)
			if err != nil || !found {
				t.Errorf("%s: %s has no holder: %v", name, want, err)
				continue
			}
			if owner.PID != os.Getpid() || owner.Program != program || owner.Socket.State != test.state || owner.Socket.Local != addr {
				t.Errorf("%s: holder of %s is %+v, want pid %d, program %s", name, want, owner, os.Getpid(), program)
			}
		}
	}
}

// TestHolderOfTimeWait: what a closed outgoing connection leaves behind blocks a bind and belongs to nobody.
func TestHolderOfTimeWait(t *testing.T) {
	t.Parallel()
	l := listenTCP(t, "tcp4", "127.0.0.1:0")
	client := dialFrom(t, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(mustFreePort(t, api.TCP))}, l.Addr())
	server, addr := accept(t, l), addrPort(client.LocalAddr())
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, func() error {
		owner, found, err := Holder(t.Context(), api.TCP, addr)
		if err != nil {
			return err
		}
		if !found || owner.Socket.State != TimeWait || owner.PID != 0 || owner.Program != "" {
			return errors.New("not in TIME_WAIT yet")
		}
		return nil
	})
	if err := Bindable(api.TCP, addr); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("bind beside a TIME_WAIT: %v", err)
	}
}

func TestHolderOfNothing(t *testing.T) {
	t.Parallel()
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), mustFreePort(t, api.UDP))
	if owner, found, err := Holder(t.Context(), api.UDP, addr); err != nil || found {
		t.Errorf("holder of a free port: %+v, %v", owner, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Holder(ctx, api.UDP, addr); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestRank(t *testing.T) {
	t.Parallel()
	order := []Socket{
		{Protocol: api.TCP, State: Listen, Inode: 1},
		{Protocol: api.UDP, State: Close, Inode: 1},
		{Protocol: api.TCP, State: CloseWait, Inode: 1},
		{Protocol: api.TCP, State: TimeWait},
	}
	for i := range order[1:] {
		if rank(order[i]) >= rank(order[i+1]) {
			t.Errorf("%+v does not come before %+v", order[i], order[i+1])
		}
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		held   string
		v6only bool
		want   string
		blocks bool
	}{
		{"::", true, "127.0.0.1", false},
		{"::", false, "127.0.0.1", true},
		{"::", true, "::1", true},
		{"::1", true, "0.0.0.0", false},
		{"0.0.0.0", false, "::", true},
		{"10.0.0.1", false, "::", true},
		{"10.0.0.1", false, "10.0.0.2", false},
	} {
		s := Socket{Local: netip.AddrPortFrom(netip.MustParseAddr(test.held), 1), V6Only: test.v6only}
		if got := blocks(s, netip.MustParseAddr(test.want)); got != test.blocks {
			t.Errorf("%s (v6only %v) blocks %s: %v", test.held, test.v6only, test.want, got)
		}
	}
}

// dialFrom connects from a port of its own: several programs can share one that the kernel picks.
func dialFrom(t *testing.T, from, to net.Addr) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: from}
	c, err := dialer.Dial(to.Network(), to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
