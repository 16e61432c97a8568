package testkit

import (
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
)

// addresses counts the loopback addresses that this test program has used.
var addresses atomic.Uint32 //nolint:gochecknoglobals // one program, one counter

// Address returns a loopback address that no other test uses: 127.<pid>.<pid>.<n>. Test programs that run at the same
// time have different pids; only their low 15 bits count, and the second octet is never 0.
func Address(t testing.TB) netip.Addr {
	t.Helper()
	n := addresses.Add(1)
	if n > 254 {
		t.Fatalf("this test program has used up its %d loopback addresses", n-1)
	}
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, byte(128 | pid>>8&0x7f), byte(pid), byte(n)})
}
