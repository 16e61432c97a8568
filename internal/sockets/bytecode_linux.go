package sockets

import "encoding/binary"

// Operations of INET_DIAG_REQ_BYTECODE (include/uapi/linux/inet_diag.h). S_EQ and D_EQ would be shorter for a single port
// but are younger (5.10) than the rest (2.6).
const (
	opNop         = 0
	opJump        = 1
	opLocalMin    = 2 // INET_DIAG_BC_S_GE
	opLocalMax    = 3 // INET_DIAG_BC_S_LE
	opRemoteMin   = 4 // INET_DIAG_BC_D_GE
	opRemoteMax   = 5 // INET_DIAG_BC_D_LE
	opSize        = 4
	rangeCodeSize = 5 * opSize
)

// maxFilterRanges bounds one list of ports in the bytecode. The kernel runs the code once per socket, range after range, and
// checks every jump of it by a walk from the start, which grows with the square of the length.
const maxFilterRanges = 64

// bytecode renders "local port in local AND remote port in remote" for the kernel's filter; nil when both are everything.
//
// Every operation is {code u8, yes u8, no u16}, and jumps forward by yes bytes when it holds and by no bytes when not.
// A comparison keeps its port in the no field of a second operation behind it. One range is five operations:
//
//	 0  port >= start?   yes: +8             no: miss
//	 4  (start)
//	 8  port <= end?     yes: +8             no: miss
//	12  (end)
//	16  jump             (yes: +4, unused)   no: behind the list's last range
//
// A miss goes on at the next range, and from a list's last range to 4 bytes behind the end of the program, which the kernel
// takes for "does not match"; reaching the end itself is a match. A jump is a comparison that never holds, so its target is
// a u16 too and a list of any length below 64 KiB can be written; yes still has to lead to the next operation, as the
// kernel steps by it when it checks the program.
func bytecode(local, remote portSet) []byte {
	local, remote = filterable(local), filterable(remote)
	total := rangeCodeSize * (len(local) + len(remote))
	if total == 0 {
		return nil
	}
	code := make([]byte, 0, total)
	code = appendAnyOf(code, total, opLocalMin, opLocalMax, local)
	return appendAnyOf(code, total, opRemoteMin, opRemoteMax, remote)
}

func appendAnyOf(code []byte, total int, opMin, opMax byte, set portSet) []byte {
	end := len(code) + rangeCodeSize*len(set)
	for _, r := range set {
		start := len(code)
		miss := start + rangeCodeSize
		if miss == end {
			miss = total + opSize
		}
		code = appendOp(code, opMin, 2*opSize, miss-start)
		code = appendOp(code, opNop, 0, r.Start)
		code = appendOp(code, opMax, 2*opSize, miss-start-2*opSize)
		code = appendOp(code, opNop, 0, r.End)
		code = appendOp(code, opJump, opSize, end-start-4*opSize)
	}
	return code
}

func appendOp(code []byte, op, yes byte, no int) []byte {
	return binary.NativeEndian.AppendUint16(append(code, op, yes), uint16(no))
}

// filterable returns a set that the kernel can be asked for: too many ranges become the one that spans them, and what it
// lets through in vain is dropped afterwards.
func filterable(p portSet) portSet {
	if len(p) <= maxFilterRanges {
		return p
	}
	return portSet{{Start: p[0].Start, End: p[len(p)-1].End}}
}
