package sockets

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// TestList opens one socket of each kind and looks for it.
func TestList(t *testing.T) {
	t.Parallel()
	anywhere, anywhere4 := netip.IPv6Unspecified(), netip.IPv4Unspecified()
	home, home6 := netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()
	nobody := netip.AddrPortFrom(anywhere4, 0)
	nobody6 := netip.AddrPortFrom(anywhere, 0)

	t.Run("tcp listen", func(t *testing.T) {
		t.Parallel()
		for _, test := range []struct {
			network, address string
			want             Socket
		}{
			{"tcp4", "127.0.0.1:0", Socket{Local: netip.AddrPortFrom(home, 0), Remote: nobody}},
			{"tcp4", "0.0.0.0:0", Socket{Local: netip.AddrPortFrom(anywhere4, 0), Remote: nobody}},
			{"tcp6", "[::1]:0", Socket{Local: netip.AddrPortFrom(home6, 0), Remote: nobody6, V6Only: true}},
			{"tcp6", "[::]:0", Socket{Local: netip.AddrPortFrom(anywhere, 0), Remote: nobody6, V6Only: true}},
			{"tcp", "[::]:0", Socket{Local: netip.AddrPortFrom(anywhere, 0), Remote: nobody6}},
		} {
			l := listenTCP(t, test.network, test.address)
			test.want.State = Listen
			test.want.Local = netip.AddrPortFrom(test.want.Local.Addr(), addrPort(l.Addr()).Port())
			mustFind(t, api.TCP, test.want)
		}
	})
	t.Run("udp bound", func(t *testing.T) {
		t.Parallel()
		for _, test := range []struct {
			network, address string
			want             Socket
		}{
			{"udp4", "127.0.0.1:0", Socket{Local: netip.AddrPortFrom(home, 0), Remote: nobody}},
			{"udp6", "[::1]:0", Socket{Local: netip.AddrPortFrom(home6, 0), Remote: nobody6, V6Only: true}},
			{"udp6", "[::]:0", Socket{Local: netip.AddrPortFrom(anywhere, 0), Remote: nobody6, V6Only: true}},
			{"udp", "[::]:0", Socket{Local: netip.AddrPortFrom(anywhere, 0), Remote: nobody6}},
		} {
			c := listenUDP(t, test.network, test.address)
			test.want.State = Close
			test.want.Local = netip.AddrPortFrom(test.want.Local.Addr(), addrPort(c.LocalAddr()).Port())
			mustFind(t, api.UDP, test.want)
		}
	})
	t.Run("udp connected", func(t *testing.T) {
		t.Parallel()
		server := listenUDP(t, "udp4", "127.0.0.1:0")
		client, err := net.Dial("udp4", server.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		mustFind(t, api.UDP, Socket{State: Established, Local: addrPort(client.LocalAddr()), Remote: addrPort(server.LocalAddr())})
	})
	t.Run("tcp established over a dual-stack listener", func(t *testing.T) {
		t.Parallel()
		l := listenTCP(t, "tcp", "[::]:0")
		target := netip.AddrPortFrom(home, addrPort(l.Addr()).Port())
		client, err := net.Dial("tcp4", target.String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server := accept(t, l)
		mustFind(t, api.TCP, Socket{State: Established, Local: addrPort(client.LocalAddr()), Remote: target})
		mustFind(t, api.TCP, Socket{State: Established, Local: target, Remote: addrPort(server.RemoteAddr())})
	})
	t.Run("tcp close-wait", func(t *testing.T) {
		t.Parallel()
		server, client := connect(t, "tcp4", "127.0.0.1:0")
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) { // the FIN has come
			t.Fatal(err)
		}
		mustFind(t, api.TCP, Socket{State: CloseWait, Local: addrPort(server.LocalAddr()), Remote: addrPort(server.RemoteAddr())})
	})
}

// TestListFiltersInTheKernel asks without the filter in Go that would hide a filter that does nothing.
func TestListFiltersInTheKernel(t *testing.T) {
	t.Parallel()
	server, client := connect(t, "tcp4", "127.0.0.1:0")
	other := listenTCP(t, "tcp4", "127.0.0.1:0")
	udp, otherUDP := listenUDP(t, "udp4", "127.0.0.1:0"), listenUDP(t, "udp4", "127.0.0.1:0")
	here, there := onePort(server.LocalAddr()), onePort(client.LocalAddr())
	some := []api.PortRange{{Start: 1, End: 1}, here, {Start: 3, End: 4}}
	for name, test := range map[string]struct {
		q               Query
		present, absent []net.Addr
	}{
		"unfiltered":      {Query{Protocol: api.TCP}, []net.Addr{server.LocalAddr(), client.LocalAddr(), other.Addr()}, nil},
		"local ports":     {Query{Protocol: api.TCP, LocalPorts: some}, []net.Addr{server.LocalAddr()}, []net.Addr{client.LocalAddr(), other.Addr()}},
		"remote port":     {Query{Protocol: api.TCP, RemotePorts: []api.PortRange{here}}, []net.Addr{client.LocalAddr()}, []net.Addr{server.LocalAddr(), other.Addr()}},
		"both":            {Query{Protocol: api.TCP, LocalPorts: some, RemotePorts: []api.PortRange{there}}, []net.Addr{server.LocalAddr()}, []net.Addr{client.LocalAddr(), other.Addr()}},
		"both, one wrong": {Query{Protocol: api.TCP, LocalPorts: some, RemotePorts: []api.PortRange{here}}, nil, []net.Addr{server.LocalAddr(), client.LocalAddr(), other.Addr()}},
		"state":           {Query{Protocol: api.TCP, States: []State{Listen}}, []net.Addr{other.Addr()}, []net.Addr{client.LocalAddr()}},
		"udp":             {Query{Protocol: api.UDP, LocalPorts: []api.PortRange{onePort(udp.LocalAddr())}}, []net.Addr{udp.LocalAddr()}, []net.Addr{otherUDP.LocalAddr()}},
		"udp unfiltered":  {Query{Protocol: api.UDP}, []net.Addr{udp.LocalAddr(), otherUDP.LocalAddr()}, nil},
	} {
		filter := bytecode(newPortSet(test.q.LocalPorts), newPortSet(test.q.RemotePorts))
		found, err := ask(t.Context(), test.q.Protocol, requests(test.q, filter), all)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		has := func(addr net.Addr) bool {
			return slices.ContainsFunc(found, func(s Socket) bool { return s.Local == addrPort(addr) })
		}
		for _, addr := range test.present {
			if !has(addr) {
				t.Errorf("%s: the kernel left out %s", name, addr)
			}
		}
		for _, addr := range test.absent {
			if has(addr) {
				t.Errorf("%s: the kernel sent %s too", name, addr)
			}
		}
	}
}

// TestListManyRanges asks for more ranges than the kernel is given: what it lets through in vain must not be returned.
func TestListManyRanges(t *testing.T) {
	t.Parallel()
	wanted, between := listenUDP(t, "udp4", "127.0.0.1:0"), listenUDP(t, "udp4", "127.0.0.1:0")
	gap := int(addrPort(between.LocalAddr()).Port())
	var ranges []api.PortRange
	for port := 1 + gap%2; port < 65536; port += 2 { // every second port, so not gap's
		ranges = append(ranges, api.PortRange{Start: port, End: port})
	}
	ranges = append(ranges, onePort(wanted.LocalAddr()))
	found, err := List(t.Context(), Query{Protocol: api.UDP, LocalPorts: ranges})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range found {
		if int(s.Local.Port()) == gap {
			t.Fatalf("port %d was not asked for", gap)
		}
	}
	if !slices.ContainsFunc(found, func(s Socket) bool { return s.Local == addrPort(wanted.LocalAddr()) }) {
		t.Fatalf("%s is missing", wanted.LocalAddr())
	}
}

// TestListInfo counts the bytes of a connection in both directions, which is what tells a tunnel's control channel from a
// stranger.
func TestListInfo(t *testing.T) {
	t.Parallel()
	const up, down = 69, 1234
	for _, network := range []string{"tcp4", "tcp6"} {
		address := map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network]
		server, client := connect(t, network, address)
		mustTransfer(t, client, server, up)
		mustTransfer(t, server, client, down)
		await(t, func() error {
			s := mustFind(t, api.TCP, Socket{State: Established, Local: addrPort(server.LocalAddr()), Remote: addrPort(client.LocalAddr())})
			c := mustFind(t, api.TCP, Socket{State: Established, Local: addrPort(client.LocalAddr()), Remote: addrPort(server.LocalAddr())})
			if s.BytesReceived != up || s.BytesAcked != down || c.BytesReceived != down || c.BytesAcked != up+1 {
				return fmt.Errorf("%s: server received %d, acked %d; client received %d, acked %d",
					network, s.BytesReceived, s.BytesAcked, c.BytesReceived, c.BytesAcked)
			}
			if want := roundTrip(t, client); c.RTT != want || c.RTT <= 0 {
				return fmt.Errorf("%s: the round trip is %s, by TCP_INFO %s", network, c.RTT, want)
			}
			return nil
		})
		plain, err := List(t.Context(), Query{
			Protocol: api.TCP, States: []State{Established},
			LocalPorts: []api.PortRange{onePort(client.LocalAddr())}, RemotePorts: []api.PortRange{onePort(server.LocalAddr())},
		})
		if err != nil || len(plain) != 1 || plain[0].BytesReceived != 0 {
			t.Errorf("without Info: %+v, %v", plain, err)
		}
	}
}

// roundTrip asks the socket itself.
func roundTrip(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	if ctl := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); ctl != nil || err != nil {
		t.Fatal(ctl, err)
	}
	return time.Duration(info.Rtt) * time.Microsecond
}

func TestListRefuses(t *testing.T) {
	t.Parallel()
	if _, err := List(t.Context(), Query{}); err == nil {
		t.Error("a query without a protocol went through")
	}
	none, err := List(t.Context(), Query{Protocol: api.TCP, LocalPorts: []api.PortRange{{Start: 2, End: 1}}})
	if err != nil || len(none) != 0 {
		t.Errorf("a range that holds no port: %v, %v", none, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := List(ctx, Query{Protocol: api.TCP}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled query: %v", err)
	}
}

func TestDumpIsAskedAnewWhenInterrupted(t *testing.T) {
	t.Parallel()
	body := kernelMessages(t)[0]
	for name, test := range map[string]struct {
		interruptions, asked int
		err                  error
	}{
		"never":     {0, 1, nil},
		"once":      {1, 2, nil},
		"each time": {100, dumpAttempts, errDumpInterrupted},
	} {
		kernel := &told{body: body, interruptions: test.interruptions}
		found, err := dump(t.Context(), kernel, netlink.Message{}, api.TCP, all, nil)
		if !errors.Is(err, test.err) || kernel.asked != test.asked {
			t.Errorf("%s: asked %d times, %v", name, kernel.asked, err)
		}
		if err == nil && len(found) != 2 {
			t.Errorf("%s: %d sockets, want 2", name, len(found))
		}
	}
}

// told is a kernel that tells of one socket twice, in two pieces, and is interrupted at first.
type told struct {
	body                 []byte
	interruptions, asked int
	pieces               int
}

func (k *told) send(netlink.Message) error {
	k.asked++
	k.pieces = 0
	return nil
}

func (k *told) receive() ([]byte, error) {
	k.pieces++
	m := netlink.Message{Header: netlink.Header{Length: uint32(headerSize + len(k.body))}, Data: k.body}
	if k.asked <= k.interruptions {
		m.Header.Flags = netlink.DumpInterrupted
	}
	if k.pieces == 3 {
		m = netlink.Message{Header: netlink.Header{Length: headerSize + 4, Type: netlink.Done}, Data: make([]byte, 4)}
	}
	return m.MarshalBinary()
}

func TestWalk(t *testing.T) {
	t.Parallel()
	message := func(kind netlink.HeaderType, data ...byte) []byte {
		text, err := netlink.Message{Header: netlink.Header{Length: uint32(headerSize + len(data)), Type: kind}, Data: data}.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	enoent := binary.NativeEndian.AppendUint32(nil, ^uint32(unix.ENOENT)+1)
	for name, test := range map[string]struct {
		piece   []byte
		visited int
		last    bool
		err     error
	}{
		"nothing":       {nil, 0, false, nil},
		"two messages":  {slices.Concat(message(20, 1, 2, 3, 4), message(20)), 2, false, nil},
		"the end":       {slices.Concat(message(20), message(netlink.Done, 0, 0, 0, 0), message(20)), 1, true, nil},
		"failed":        {message(netlink.Error, enoent...), 0, true, unix.ENOENT},
		"half a dump":   {slices.Concat(message(20), message(netlink.Done, enoent...)), 1, true, unix.ENOENT},
		"torn header":   {message(20)[:headerSize-1], 0, false, nil},
		"length beyond": {message(20, 1, 2, 3, 4)[:headerSize], 0, false, errMalformed},
	} {
		visited := 0
		_, last, err := walk(test.piece, func([]byte) error {
			visited++
			return nil
		})
		if visited != test.visited || last != test.last || !errors.Is(err, test.err) {
			t.Errorf("%s: visited %d, last %v, %v", name, visited, last, err)
		}
	}
}

// BenchmarkList asks among 2,000 connections, one filtered as a manager does and one for everything.
func BenchmarkList(b *testing.B) {
	l := listenTCP(b, "tcp4", "127.0.0.1:0")
	for range 1000 {
		client, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = client.Close() })
		accept(b, l)
	}
	few := listenTCP(b, "tcp4", "127.0.0.1:0")
	for _, bench := range []struct {
		name string
		q    Query
	}{
		{"listen, one port", Query{Protocol: api.TCP, States: []State{Listen}, LocalPorts: []api.PortRange{onePort(few.Addr())}}},
		{"one port", Query{Protocol: api.TCP, LocalPorts: []api.PortRange{onePort(few.Addr())}}},
		{"1,000 with tcp_info", Query{Protocol: api.TCP, States: []State{Established}, LocalPorts: []api.PortRange{onePort(l.Addr())}, Info: true}},
		{"everything", Query{Protocol: api.TCP}},
		{"udp, one port", Query{Protocol: api.UDP, LocalPorts: []api.PortRange{onePort(few.Addr())}}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			found := 0
			for b.Loop() {
				s, err := List(b.Context(), bench.q)
				if err != nil {
					b.Fatal(err)
				}
				found = len(s)
			}
			b.ReportMetric(float64(found), "sockets")
		})
	}
}

// mustFind returns the one socket that has the wanted one's state, addresses and v6only.

// What Keep does not want is not there, and what it is asked about is the whole truth of a socket.
func TestListKeeps(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	for _, keep := range []bool{true, false} {
		asked := 0
		found, err := List(t.Context(), Query{Protocol: api.TCP, LocalPorts: []api.PortRange{onePort(ln.Addr())}, Keep: func(s Socket) bool {
			asked++
			if s.State != Listen || s.Local.String() != ln.Addr().String() || s.Inode == 0 {
				t.Errorf("asked about %+v", s)
			}
			return keep
		}})
		if err != nil || asked != 1 || (len(found) == 1) != keep {
			t.Errorf("keep %v: asked %d times, %v %v", keep, asked, found, err)
		}
	}
}
