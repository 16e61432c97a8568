package sockets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// kernelMessages returns the kernel's own words about an IPv4 connection and an IPv6 listener, tcp_info included.
func kernelMessages(tb testing.TB) [][]byte {
	tb.Helper()
	server, client := connect(tb, "tcp4", "127.0.0.1:0")
	listener := listenTCP(tb, "tcp6", "[::1]:0")
	ports := newPortSet([]api.PortRange{onePort(server.LocalAddr()), onePort(client.LocalAddr()), onePort(listener.Addr())})
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	q := Query{Protocol: api.TCP, States: []State{Established, Listen}, Info: true}
	answers, err := conn.Execute(requests(q, bytecode(ports, nil))[0])
	if err != nil {
		tb.Fatal(err)
	}
	var bodies [][]byte
	for _, a := range answers {
		bodies = append(bodies, a.Data)
	}
	if len(bodies) < 3 {
		tb.Fatalf("the kernel told of %d sockets, want a connection's two and a listener", len(bodies))
	}
	return bodies
}

// TestParseTruncated cuts real messages at every byte: parse says so, unless the cut falls between two attributes.
func TestParseTruncated(t *testing.T) {
	t.Parallel()
	for _, body := range kernelMessages(t) {
		whole, err := parse(body, api.TCP)
		if err != nil {
			t.Fatal(err)
		}
		between := map[int]bool{messageSize: true}
		for at := messageSize; at < len(body); {
			end := at + int(binary.NativeEndian.Uint16(body[at:]))
			at = (end + 3) &^ 3
			for ; end <= at; end++ { // the padding may be missing
				between[end] = true
			}
		}
		if len(between) < 5 {
			t.Fatalf("the kernel sent %d attributes, too few to cut", len(between)-1)
		}
		for size := range body {
			s, err := parse(slices.Clone(body[:size]), api.TCP)
			if between[size] != (err == nil) || err != nil && !errors.Is(err, errMalformed) {
				t.Fatalf("%d of %d bytes: %+v, %v", size, len(body), s, err)
			}
			if err == nil && (s.Local != whole.Local || s.Remote != whole.Remote || s.Inode != whole.Inode) {
				t.Fatalf("%d of %d bytes: %+v, want %+v", size, len(body), s, whole)
			}
		}
	}
}

func TestParseMalformed(t *testing.T) {
	t.Parallel()
	good := kernelMessages(t)[0]
	for name, spoil := range map[string]func(b []byte) []byte{
		"empty":                      func([]byte) []byte { return nil },
		"unknown family":             func(b []byte) []byte { b[offsetFamily] = unix.AF_UNIX; return b },
		"attribute of length 0":      func(b []byte) []byte { return append(b[:messageSize], 0, 0, 2, 0) },
		"attribute of length 3":      func(b []byte) []byte { return append(b[:messageSize], 3, 0, 2, 0) },
		"attribute beyond the end":   func(b []byte) []byte { return append(b[:messageSize], 255, 255, 2, 0) },
		"half an attribute's header": func(b []byte) []byte { return append(b[:messageSize], 4, 0) },
	} {
		if s, err := parse(spoil(slices.Clone(good)), api.TCP); !errors.Is(err, errMalformed) {
			t.Errorf("%s: parsed as %+v, %v", name, s, err)
		}
	}
	for _, size := range []int{9, offsetBytesAcked, offsetBytesAcked + 7} {
		header := binary.NativeEndian.AppendUint16(nil, uint16(attributeHeaderSize+size))
		header = binary.NativeEndian.AppendUint16(header, attributeInfo)
		body := slices.Concat(good[:messageSize], header, bytes.Repeat([]byte{1}, size))
		if s, err := parse(body, api.TCP); err != nil || s.BytesAcked != 0 || s.BytesReceived != 0 {
			t.Errorf("an old kernel's tcp_info of %d bytes: %+v, %v", size, s, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, body := range kernelMessages(f) {
		f.Add(body)
		f.Add(body[:messageSize+5])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := parse(body, api.TCP)
		if err != nil {
			return
		}
		if len(body) < messageSize || !s.Local.IsValid() || !s.Remote.IsValid() {
			t.Fatalf("%d bytes parsed as %+v", len(body), s)
		}
	})
}

func onePort(addr net.Addr) api.PortRange {
	port := int(addrPort(addr).Port())
	return api.PortRange{Start: port, End: port}
}
