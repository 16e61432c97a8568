package limits

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Kernel is a view of a machine's limits. This has the real one.
type Kernel struct {
	ReadFile func(path string) ([]byte, error)
	// ReadDir gives the names in a directory.
	ReadDir func(path string) ([]string, error)
	// Limit is the limit of a resource, such as unix.RLIMIT_NPROC, for this process and those that it starts.
	Limit func(resource int) (uint64, error)
}

// This is the machine, and the process, that the program runs as.
func This() Kernel { return Kernel{ReadFile: os.ReadFile, ReadDir: readDir, Limit: limit} }

func readDir(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return f.Readdirnames(-1)
}

// limit gives what binds: the soft limit, but of open files the hard one, to which Go's runtime and rathole raise the soft
// one by themselves.
func limit(resource int) (uint64, error) {
	var r unix.Rlimit
	err := unix.Getrlimit(resource, &r)
	if resource == unix.RLIMIT_NOFILE {
		return r.Max, err
	}
	return r.Cur, err
}

// number reads a file that holds one number. One that holds none, such as "max", is an error.
func (k Kernel) number(path string) (uint64, error) {
	text, err := k.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

// field reads the number behind a word of a file of lines "word number".
func (k Kernel) field(path, word string) (uint64, bool) {
	text, err := k.ReadFile(path)
	if err != nil {
		return 0, false
	}
	return field(text, word)
}

func field(text []byte, word string) (uint64, bool) {
	for line := range strings.Lines(string(text)) {
		if parts := strings.Fields(line); len(parts) >= 2 && parts[0] == word {
			n, err := strconv.ParseUint(parts[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
