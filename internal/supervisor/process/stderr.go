package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// rathole writes each log line to its standard output, what keeps it from that to its standard error, and aborts when that
// fails too. On a disk that is full both files would fail. So its standard error is a file in memory, which takes what
// comes whatever becomes of the disks, and is written to <logs>/<id>.err when the process has ended.
const (
	stderrName = "rathole-stderr"
	// stderrCap is in bytes. What exceeds it is a line for each line of the log that could not be written, again and again.
	stderrCap = 64 << 10
)

// newStderr makes the file in memory. It appends, so that it can be cut while the process writes.
func newStderr() (*os.File, error) {
	fd, err := unix.MemfdCreate(stderrName, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(stderrName, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_RDWR|unix.O_APPEND); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make a file in memory append: %w", err)
	}
	return os.NewFile(uintptr(fd), stderrName), nil
}

// stderrOf opens the file in memory of a process that an earlier run of this service started; nil if it has none, or this
// service may not look into it.
func stderrOf(pid int) *os.File {
	path := fmt.Sprintf("/proc/%d/fd/2", pid)
	if name, err := os.Readlink(path); err != nil || !strings.HasPrefix(name, "/memfd:"+stderrName) {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	return f
}

// keepStderr writes what an ended process said to its file, closes what held it, and gives the path where it is found. On a
// full disk that is the file in memory itself, which then stays open.
func keepStderr(memory *os.File, path string) string {
	text, err := io.ReadAll(io.NewSectionReader(memory, 0, stderrCap))
	if err == nil && len(text) > 0 {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return fmt.Sprintf("/proc/self/fd/%d", memory.Fd())
	}
	_ = memory.Close()
	return path
}

// trimStderr empties a file in memory that has grown too large.
func trimStderr(memory *os.File) error {
	info, err := memory.Stat()
	if err == nil && info.Size() > stderrCap {
		err = memory.Truncate(0)
	}
	if errors.Is(err, os.ErrClosed) {
		return nil // its process has ended meanwhile
	}
	return err
}
