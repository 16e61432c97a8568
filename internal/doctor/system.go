package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/limits"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor/process"
)

// System is a view of a machine: everything that a check may ask. This has the real one.
type System struct {
	UID      int // effective
	Now      func() time.Time
	ReadFile func(path string) ([]byte, error)
	// ReadDir gives the names in a directory.
	ReadDir func(path string) ([]string, error)
	Stat    func(path string) (Place, error)
	Space   func(path string) (Space, error)
	// TryWrite makes, syncs and removes a file in a directory that exists.
	TryWrite func(dir string) error
	// MayWrite tells whether a new entry can be made in a directory, without making one.
	MayWrite func(dir string) error
	// Locked tells whether a process holds the lock of a file.
	Locked func(file string) (bool, error)
	// Limit is the limit of a resource, such as unix.RLIMIT_NOFILE, for this process and those that it starts.
	Limit func(resource int) (uint64, error)
	// TakeInotify takes one inotify instance and gives it back.
	TakeInotify func() error
	// Engine finds the executable at path, or in PATH.
	Engine func(ctx context.Context, path string) (rathole.Binary, error)
	// Engines finds the processes that run on configs of units below a directory: the units' ids by pid.
	Engines func(units, flag, configName string) (map[int]string, error)
	// UsableUIDs tells why processes cannot run as these users with their files below dir.
	UsableUIDs func(r supervisor.UIDRange, dir string) error
	Lookup     func(ctx context.Context, host string) ([]netip.Addr, error)
	DualStack  func() (bool, error)
	Bindable   func(p api.Protocol, addr netip.AddrPort) error
	Sockets    func(ctx context.Context, q sockets.Query) ([]sockets.Socket, error)
	Holder     func(ctx context.Context, p api.Protocol, addr netip.AddrPort) (sockets.Owner, bool, error)
}

// Place is what a path leads to.
type Place struct {
	Mode  fs.FileMode
	Owner int // user id
}

// Space is what a file system has left for ordinary users.
type Space struct {
	Bytes  uint64
	Inodes uint64
	// Counted tells whether Inodes means anything: some file systems make them as needed.
	Counted bool
}

// lookupTimeout bounds one question to the resolver.
const lookupTimeout = 5 * time.Second

// This is the machine that the program runs on.
func This() System {
	return System{
		UID:      os.Geteuid(),
		Now:      time.Now,
		ReadFile: os.ReadFile,
		ReadDir:  readDir,
		Stat:     stat,
		Space:    space,
		TryWrite: tryWrite,
		MayWrite: func(dir string) error {
			return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		},
		Locked:      locked,
		Limit:       limits.This().Limit,
		TakeInotify: engine.CheckInotify,
		Engine:      rathole.Find,
		Engines:     engines,
		UsableUIDs:  func(r supervisor.UIDRange, dir string) error { return r.Usable(dir) },
		Lookup:      lookup,
		DualStack:   sockets.DualStack,
		Bindable:    sockets.Bindable,
		Sockets:     sockets.List,
		Holder:      sockets.Holder,
	}
}

// Number reads a file of /proc/sys that holds one number.
func (sys System) Number(path string) (uint64, error) {
	text, err := sys.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

// Records gives the ids of the records that a service has: those of its units, whatever state they are in.
func (sys System) Records(s Settings) ([]string, error) {
	names, err := sys.ReadDir(filepath.Join(s.State, s.Units))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, name := range names {
		if rathole.ValidServerID(name) {
			ids = append(ids, name)
		}
	}
	return ids, nil
}

// units is how many records there are; 0 also where they may not be read, which another check tells.
func (sys System) units(s Settings) uint64 {
	ids, err := sys.Records(s)
	if err != nil {
		return 0
	}
	return uint64(len(ids))
}

// running tells whether a service holds the state directory.
func (sys System) running(state string) occupied {
	switch held, err := sys.Locked(filepath.Join(state, "lock")); {
	case err != nil:
		return unseen
	case held:
		return yes
	}
	return no
}

// occupied is whether a service runs on a state directory, which another user's keeps to itself.
type occupied string

const (
	yes    occupied = "a service runs on it"
	no     occupied = "no service runs on it"
	unseen occupied = "this user cannot see whether a service runs on it"
)

// existing is dir, or what of it there is: the directory in which the rest would be made.
func (sys System) existing(dir string) string {
	for {
		_, err := sys.Stat(dir)
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return dir
		}
		dir = parent
	}
}

func readDir(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func stat(path string) (Place, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Place{}, err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Place{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return Place{Mode: info.Mode(), Owner: int(st.Uid)}, nil
}

func space(path string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Space{}, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return Space{Bytes: st.Bavail * uint64(st.Bsize), Inodes: st.Ffree, Counted: st.Files > 0}, nil
}

func tryWrite(dir string) (err error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.WriteString("a file of doctor, which it removes\n")
	return errors.Join(err, f.Sync(), f.Close())
}

// engines looks for the path under which a service starts its engines, which has no symbolic links in it.
func engines(units, flag, configName string) (map[int]string, error) {
	path, err := filepath.EvalSymlinks(units)
	if errors.Is(err, fs.ErrNotExist) {
		path, err = units, nil
	}
	if err != nil {
		return nil, err
	}
	return process.Running(path, flag, configName)
}

// locked takes the lock for an instant if nobody has it. A service that starts in that instant tries again for longer.
func locked(file string) (bool, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
