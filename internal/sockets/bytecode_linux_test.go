package sockets

import (
	"encoding/binary"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// TestBytecode runs the program as net/ipv4/inet_diag.c does and compares it with the sets that it stands for.
func TestBytecode(t *testing.T) {
	t.Parallel()
	for _, n := range []struct{ local, remote int }{{1, 0}, {0, 1}, {2, 0}, {1, 1}, {3, 5}, {maxFilterRanges, 2}, {2, maxFilterRanges}} {
		local, remote := newPortSet(randomRanges(n.local)), newPortSet(randomRanges(n.remote))
		code := bytecode(local, remote)
		audit(t, code)
		for _, at := range edges(local) {
			for _, to := range edges(remote) {
				want := local.contains(at) && remote.contains(to)
				if got := run(t, code, at, to); got != want {
					t.Fatalf("%v to %v: port %d to %d matches: %v, want %v", local, remote, at, to, got, want)
				}
			}
		}
	}
}

func TestBytecodeOfEverythingIsNone(t *testing.T) {
	t.Parallel()
	if code := bytecode(nil, nil); code != nil {
		t.Fatalf("got %v", code)
	}
}

func TestBytecodeOfTooManyRangesSpansThem(t *testing.T) {
	t.Parallel()
	var many []api.PortRange
	for port := 1001; port <= 1001+2*maxFilterRanges; port += 2 {
		many = append(many, api.PortRange{Start: port, End: port})
	}
	code := bytecode(newPortSet(many), nil)
	audit(t, code)
	if len(code) != rangeCodeSize {
		t.Fatalf("%d bytes for %d ranges, want those of one", len(code), len(many))
	}
	for port, want := range map[uint16]bool{1000: false, 1001: true, 1002: true, 1001 + 2*maxFilterRanges: true, 1002 + 2*maxFilterRanges: false} {
		if got := run(t, code, port, 0); got != want {
			t.Errorf("port %d matches: %v, want %v", port, got, want)
		}
	}
}

type op struct {
	code, yes byte
	no        int
}

func opAt(code []byte, at int) op {
	return op{code: code[at], yes: code[at+1], no: int(binary.NativeEndian.Uint16(code[at+2:]))}
}

// run is inet_diag_bc_run.
func run(t *testing.T, code []byte, local, remote uint16) bool {
	t.Helper()
	at := 0
	for at < len(code) {
		o := opAt(code, at)
		yes := false
		switch o.code {
		case opJump:
		case opLocalMin:
			yes = int(local) >= opAt(code, at+opSize).no
		case opLocalMax:
			yes = int(local) <= opAt(code, at+opSize).no
		case opRemoteMin:
			yes = int(remote) >= opAt(code, at+opSize).no
		case opRemoteMax:
			yes = int(remote) <= opAt(code, at+opSize).no
		default:
			t.Fatalf("operation %d at %d", o.code, at)
		}
		if yes {
			at += int(o.yes)
			continue
		}
		at += o.no
	}
	return at == len(code)
}

// audit is inet_diag_bc_audit.
func audit(t *testing.T, code []byte) {
	t.Helper()
	starts := map[int]bool{len(code): true}
	for at := 0; at < len(code); at += int(code[at+1]) {
		starts[at] = true
		if code[at+1] == 0 {
			t.Fatalf("the operation at %d does not advance", at)
		}
	}
	for at := range starts {
		if at == len(code) {
			continue
		}
		o, left, size := opAt(code, at), len(code)-at, 2*opSize
		if o.code == opJump {
			size = opSize
		}
		if o.no < size || o.no > left+4 || o.no%4 != 0 || o.no < left && !starts[at+o.no] {
			t.Fatalf("the operation at %d of %d jumps by no = %d", at, len(code), o.no)
		}
		if int(o.yes) < size || int(o.yes) > left+4 || o.yes%4 != 0 {
			t.Fatalf("the operation at %d of %d jumps by yes = %d", at, len(code), o.yes)
		}
	}
}
