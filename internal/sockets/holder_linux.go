package sockets

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// Holder tells who holds addr or an address that overlaps it, and false if nobody does: it names what made [Bindable]
// answer EADDRINUSE. (Asked without that it may name a connection that SO_REUSEADDR passes over.) Of several sockets it
// takes a listening one first, then a bound UDP socket, then any other, such as a program's outgoing connection whose local
// port happens to be this one; the TimeWait that such a connection leaves blocks a bind for 60 s and belongs to nobody.
//
// To name the program it reads /proc/<pid>/fd of every process it may read, which takes 0.1 s and more on a machine with
// thousands: it is for the message of a refusal, not for a poll.
func Holder(ctx context.Context, protocol api.Protocol, addr netip.AddrPort) (Owner, bool, error) {
	port := int(addr.Port())
	found, err := List(ctx, Query{Protocol: protocol, LocalPorts: []api.PortRange{{Start: port, End: port}}})
	if err != nil {
		return Owner{}, false, fmt.Errorf("find the holder of %s %s: %w", protocol, addr, err)
	}
	want := addr.Addr().Unmap().WithZone("")
	found = slices.DeleteFunc(found, func(s Socket) bool { return !blocks(s, want) })
	if len(found) == 0 {
		return Owner{}, false, nil
	}
	owner := Owner{Socket: slices.MinFunc(found, func(a, b Socket) int { return rank(a) - rank(b) })}
	owner.PID, owner.Program, err = holdingProcess(ctx, owner.Socket.Inode)
	if err != nil {
		return Owner{}, false, fmt.Errorf("find the holder of %s %s: %w", protocol, addr, err)
	}
	return owner, true, nil
}

// blocks is the kernel's rule for a socket that exists, more exact than Overlaps: across the families only a dual-stack
// [::] is in the way.
func blocks(s Socket, want netip.Addr) bool {
	held := s.Local.Addr()
	if held.Is4() != want.Is4() {
		return want == netip.IPv6Unspecified() || held == netip.IPv6Unspecified() && !s.V6Only
	}
	return Overlaps(held, want)
}

func rank(s Socket) int {
	switch {
	case s.State == Listen:
		return 0
	case s.Protocol == api.UDP && s.State == Close:
		return 1
	case s.Inode != 0:
		return 2
	default:
		return 3
	}
}

// holdingProcess returns the first process, by number, that holds the inode, or 0 if none is seen. A parent that opened
// the socket before it forked is the lower one.
func holdingProcess(ctx context.Context, inode uint64) (pid int, program string, err error) {
	if inode == 0 {
		return 0, "", nil
	}
	proc, err := os.Open("/proc")
	if err != nil {
		return 0, "", err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1) // unsorted: /proc lists its processes by number
	if err != nil {
		return 0, "", err
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if ctx.Err() != nil {
			return 0, "", context.Cause(ctx)
		}
		held := false
		// A process that ended or that may not be read is not an error: somebody else may be the holder.
		_ = visitInodes(pid, func(i uint64) bool {
			held = i == inode
			return !held
		})
		if held {
			return pid, programName(name), nil
		}
	}
	return 0, "", nil
}

func programName(pid string) string {
	comm, err := os.ReadFile(filepath.Join("/proc", pid, "comm"))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(comm), "\n")
}
