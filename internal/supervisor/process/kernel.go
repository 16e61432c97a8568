package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// pollable turns a pidfd into a file that the runtime's poller watches.
func pollable(pidfd int) (*os.File, error) {
	if err := unix.SetNonblock(pidfd, true); err != nil {
		_ = unix.Close(pidfd)
		return nil, fmt.Errorf("make the pidfd non-blocking: %w", err)
	}
	return os.NewFile(uintptr(pidfd), "pidfd"), nil
}

// waitReadable waits until a pidfd's process has ended; false if the file's deadline came first.
func waitReadable(pidfd *os.File) bool {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return false
	}
	return conn.Read(ended) == nil
}

// ended tells whether a pidfd is readable: its process has ended, though nobody may have reaped it yet.
func ended(fd uintptr) bool {
	polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(polled, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n == 1
	}
}

func exited(pidfd *os.File) bool {
	gone := true
	conn, err := pidfd.SyscallConn()
	if err == nil {
		err = conn.Control(func(fd uintptr) { gone = ended(fd) })
	}
	return err != nil || gone
}

// signal sends to the process of a pidfd, and to no other that may have got its pid. A process that has ended is no error.
func signal(pidfd *os.File, sig unix.Signal) error {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return err
	}
	if sent != nil && !errors.Is(sent, unix.ESRCH) {
		return fmt.Errorf("send %s: %w", unix.SignalName(sig), sent)
	}
	return nil
}

// More than what is read of /proc/<pid>/ holds where it matters: of a command line of ours two paths and a flag, of stat 52
// numbers and a name.
const (
	commandLineSize = 2*4096 + 512
	statSize        = 1280
)

// readProc reads a file of /proc/<pid>/, as much of it as the buffer holds. It is done for every process again and again, so
// by three system calls; os.ReadFile makes seven, and garbage.
func readProc(pid int, file string, buf []byte) ([]byte, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/" + file
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	for errors.Is(err, unix.EINTR) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	n, err := unix.Read(fd, buf)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Read(fd, buf)
	}
	_ = unix.Close(fd)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return buf[:n], nil
}

// commandLine is empty for a process that is gone, and for one whose arguments are longer than any of ours.
func commandLine(pid int) []string {
	text, err := readProc(pid, "cmdline", make([]byte, commandLineSize))
	if err != nil || len(text) == 0 || len(text) == commandLineSize {
		return nil
	}
	return strings.Split(string(bytes.TrimSuffix(text, []byte{0})), "\x00")
}

// stat reads /proc/<pid>/stat from its third field (the state) on. The second, the name, may hold anything, also spaces
// and brackets, and ends at the last bracket.
func stat(pid int, buf *[statSize]byte) ([]byte, error) {
	text, err := readProc(pid, "stat", buf[:])
	if err != nil {
		return nil, err
	}
	name := bytes.LastIndex(text, []byte(") "))
	if name < 0 {
		return nil, fmt.Errorf("/proc/%d/stat holds %d bytes", pid, len(text))
	}
	return text[name+2:], nil
}

// startTicks is when a process started, in clock ticks since boot (field 22).
func startTicks(pid int) (uint64, error) {
	text, err := stat(pid, new([statSize]byte))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text)
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}

// Stopped tells whether a process is stopped by a signal ("T") or a debugger ("t"): it exists, and does nothing.
func Stopped(pid int) bool {
	text, err := stat(pid, new([statSize]byte))
	return err == nil && len(text) > 0 && (text[0] == 'T' || text[0] == 't')
}
