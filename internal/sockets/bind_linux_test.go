package sockets

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// TestBindConflicts takes a port on one address and tries another, for every pair of addresses: Holder must name a holder
// where the kernel refuses and nowhere else, and Overlaps must not miss a refusal.
func TestBindConflicts(t *testing.T) {
	t.Parallel()
	addresses := []string{"0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::1", "::ffff:127.0.0.1"}
	// Where Overlaps is more cautious than the kernel: an IPv4 wildcard leaves IPv6 addresses alone.
	cautious := map[[2]string]bool{{"0.0.0.0", "::1"}: true, {"::1", "0.0.0.0"}: true}
	for _, protocol := range []Protocol{api.TCP, api.UDP} {
		port := mustFreePort(t, protocol)
		for _, a := range addresses {
			for _, b := range addresses {
				held, wanted := netip.MustParseAddr(a), netip.AddrPortFrom(netip.MustParseAddr(b), port)
				fd, err := openSocket(protocol, netip.AddrPortFrom(held, port))
				if err != nil {
					t.Fatalf("%s %s:%d: %v", protocol, a, port, err)
				}
				refusal := Bindable(protocol, wanted)
				owner, found, err := Holder(t.Context(), protocol, wanted)
				_ = unix.Close(fd)

				refused := errors.Is(refusal, unix.EADDRINUSE)
				if refusal != nil && !refused {
					t.Fatalf("%s %s beside %s: %v", protocol, wanted, a, refusal)
				}
				if err != nil || found != refused {
					t.Errorf("%s %s beside %s: refused with %v, holder %+v, %v", protocol, wanted, a, refusal, owner, err)
				}
				overlaps := Overlaps(held, wanted.Addr())
				if overlaps != (refused || cautious[[2]string{a, b}]) {
					t.Errorf("%s %s beside %s: refused with %v, overlaps: %v", protocol, wanted, a, refusal, overlaps)
				}
			}
		}
		if err := Bindable(protocol, netip.AddrPortFrom(netip.IPv6Unspecified(), port)); err != nil {
			t.Errorf("the port is still taken after all that: %v", err)
		}
	}
}

func TestBindableBesideTheOtherProtocol(t *testing.T) {
	t.Parallel()
	l := listenTCP(t, "tcp4", "127.0.0.1:0")
	if err := Bindable(api.UDP, addrPort(l.Addr())); err != nil {
		t.Error(err)
	}
	if err := Bindable(api.TCP, addrPort(l.Addr())); !errors.Is(err, unix.EADDRINUSE) {
		t.Error(err)
	}
}

func TestBindableNeedsTheAddress(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"192.0.2.1:0", "[2001:db8::1]:0"} {
		for _, protocol := range []Protocol{api.TCP, api.UDP} {
			if err := Bindable(protocol, netip.MustParseAddrPort(addr)); !errors.Is(err, unix.EADDRNOTAVAIL) {
				t.Errorf("%s %s: %v", protocol, addr, err)
			}
		}
	}
	if err := Bindable("sctp", netip.MustParseAddrPort("127.0.0.1:0")); err == nil {
		t.Error("an unknown protocol was bindable")
	}
}

// TestBindablePassesOverConnections: an engine that starts again binds its port beside the connections of the last one.
func TestBindablePassesOverConnections(t *testing.T) {
	t.Parallel()
	l := listenTCP(t, "tcp4", "127.0.0.1:0") // Go sets SO_REUSEADDR, as rathole does
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accept(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Bindable(api.TCP, addrPort(l.Addr())); err != nil {
		t.Fatal(err)
	}
}

// TestBindableLeaksNothingIntoAFork starts processes all the while: none of them may keep the probed port.
// It is not parallel, for other tests open their sockets without such care.
func TestBindableLeaksNothingIntoAFork(t *testing.T) {
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), mustFreePort(t, api.UDP))
	// Once in its life a process makes a child to see whether the kernel has pidfds, and Go takes no lock for that.
	if err := exec.Command("true").Run(); err != nil {
		t.Fatal(err)
	}
	forks := make(chan error, 1)
	go func() {
		for range 200 {
			if err := exec.Command("true").Run(); err != nil {
				forks <- err
				return
			}
		}
		forks <- nil
	}()
	for probes := 1; ; probes++ {
		if err := Bindable(api.UDP, addr); err != nil {
			t.Errorf("probe %d finds the port of the probe before it taken: %v", probes, err)
			if err := <-forks; err != nil {
				t.Error(err)
			}
			return
		}
		select {
		case err := <-forks:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
	}
}

func TestDualStack(t *testing.T) {
	t.Parallel()
	got, err := DualStack()
	if err != nil {
		t.Fatal(err)
	}
	// A server that is true on both families is the proof; "tcp" in Go would force it, so the socket is the package's own.
	fd, err := openSocket(api.TCP, netip.AddrPortFrom(netip.IPv6Unspecified(), 0))
	if err != nil {
		if got {
			t.Fatalf("dual-stack without a socket on [::]: %v", err)
		}
		return
	}
	defer unix.Close(fd)
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet6).Port))
	if err == nil {
		_ = c.Close()
	}
	if got != (err == nil) {
		t.Fatalf("dual-stack: %v, but a connection over IPv4 answers %v", got, err)
	}
}

// mustFreePort returns a port below the ephemeral range that is free on every address. Outgoing connections of other
// programs stay away from it.
func mustFreePort(t *testing.T, protocol Protocol) uint16 {
	t.Helper()
	for range 100 {
		port := uint16(20001 + rand.IntN(32767-20001))
		if Bindable(protocol, netip.AddrPortFrom(netip.IPv6Unspecified(), port)) == nil {
			return port
		}
	}
	t.Fatal("no free port found")
	return 0
}
