package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// identity tells one state of one file from any other, also one without a name.
type identity struct {
	device, inode uint64
	size          int64
	changed       unix.Timespec // ctime: nobody sets it
}

func identify(path string) (identity, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return identity{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return identity{device: st.Dev, inode: st.Ino, size: st.Size, changed: st.Ctim}, nil
}

// runs tells what a process runs, from the kernel: the file itself, which may have lost its name. Where this service may not
// look into the process, for it lacks CAP_SYS_PTRACE, the command line has the path. A build that is a script has become
// something else by then, its interpreter or what it executes: of that process the service has noted what it was started by.
func (e *Engine) runs(ctx context.Context, p supervisor.Process) (rathole.Binary, error) {
	file := fmt.Sprintf("/proc/%d/exe", p.PID)
	path, err := os.Readlink(file)
	if errors.Is(err, fs.ErrPermission) {
		path, err = firstArgument(p.PID)
		file = path
	}
	if err != nil {
		return rathole.Binary{}, err
	}
	_, direct := e.nameIn(path)
	if _, noted := e.nameIn(p.Program); noted && !direct {
		path, file = p.Program, p.Program
	}
	at, err := identify(file)
	if err != nil {
		return rathole.Binary{Path: path}, err
	}
	e.looking.Lock()
	known, ok := e.seen[at]
	e.looking.Unlock()
	if ok {
		return known, nil
	}
	b, err := rathole.Find(ctx, path)
	if err != nil { // a file without a name cannot be asked
		b = rathole.Binary{Path: path}
		if b.SHA256, err = rathole.Digest(file); err != nil {
			return b, err
		}
	}
	e.looking.Lock()
	defer e.looking.Unlock()
	e.seen[at] = b
	return b, nil
}

// know notes a build that was asked just now, so that its first process need not wait for it to be asked again.
func (e *Engine) know(b rathole.Binary) {
	at, err := identify(b.Path)
	if err != nil {
		return // whoever needs it will ask
	}
	e.looking.Lock()
	defer e.looking.Unlock()
	e.seen[at] = b
}

func firstArgument(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return "", err
	}
	path, _, _ := bytes.Cut(text, []byte{0})
	if len(path) == 0 {
		return "", fmt.Errorf("process %d has no command line: %w", pid, fs.ErrNotExist)
	}
	return string(path), nil
}

// nameIn gives the name of the installed build that a path belongs to; false if it is no build's.
func (e *Engine) nameIn(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, e.cfg.Dir+string(filepath.Separator))
	name, _, _ := strings.Cut(rest, string(filepath.Separator))
	return name, ok
}

// inUse gives the names of the builds that must stay: the current one, those that units were started by, and those that any
// process of this machine runs, supervised or not.
func (e *Engine) inUse(programs []string) (map[string]bool, error) {
	keep := map[string]bool{}
	if b, ok := e.known(); ok {
		keep[b.Name()] = true
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)) // gone meanwhile, or not ours to look into
		argument, _ := firstArgument(pid)
		programs = append(programs, exe, argument)
	}
	for _, path := range programs {
		if name, ok := e.nameIn(path); ok {
			keep[name] = true
		}
	}
	return keep, nil
}
