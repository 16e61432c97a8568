package testkit

import (
	"net"
	"net/netip"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
)

// RespondUDP starts a game that answers each datagram as told, for as long as the test runs.
func RespondUDP(t testing.TB, host netip.Addr, port int, answer func(question []byte) []byte) *game.Responder {
	t.Helper()
	r, err := game.RespondUDP(netip.AddrPortFrom(host, uint16(port)), answer)
	if err != nil {
		t.Fatalf("start a game on %s:%d/udp: %v", host, port, err)
	}
	t.Cleanup(r.Stop)
	return r
}

// RespondTCP starts a game that serves each connection as told, for as long as the test runs.
func RespondTCP(t testing.TB, host netip.Addr, port int, serve func(net.Conn)) *game.Responder {
	t.Helper()
	r, err := game.RespondTCP(netip.AddrPortFrom(host, uint16(port)), serve)
	if err != nil {
		t.Fatalf("start a game on %s:%d/tcp: %v", host, port, err)
	}
	t.Cleanup(r.Stop)
	return r
}
