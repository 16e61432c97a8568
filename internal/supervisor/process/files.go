package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

func (b *Backend) configPath(id string) string {
	return filepath.Join(b.cfg.Units, id, configDir, b.cfg.ConfigName)
}

// nextConfigPath is a config that has not replaced the old one yet. Found at any other time it was left by a service that was
// killed, and holds secrets of a revision that may be long gone.
func (b *Backend) nextConfigPath(id string) string {
	return filepath.Join(filepath.Dir(b.configPath(id)), ".next")
}
func (b *Backend) lockPath(id string) string { return filepath.Join(b.cfg.Units, id, lockFile) }
func (b *Backend) logPath(id string) string  { return filepath.Join(b.cfg.Logs, id+logSuffix) }
func (b *Backend) errPath(id string) string  { return filepath.Join(b.cfg.Logs, id+errSuffix) }

// WriteConfig implements supervisor.Backend. The new file is written beside the old one and renamed: rathole never
// notices a file that comes from another directory, and may read half of one that is written in place.
func (b *Backend) WriteConfig(u supervisor.Unit) error {
	path := b.configPath(u.ID)
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the config's directory: %w", err)
	}
	next := b.nextConfigPath(u.ID)
	if err := removeIfThere(next); err != nil { // one that a killed service gave to the unit's user could not be written to
		return fmt.Errorf("write the config of %s: %w", u.ID, err)
	}
	err := os.WriteFile(next, []byte(u.Config), 0o600)
	if err == nil && u.UnixUID != 0 {
		err = errors.Join(give(next, u.UnixUID, 0o400), give(dir, u.UnixUID, 0o500))
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the config of %s: %w", u.ID, err), removeIfThere(next))
	}
	return nil
}

// hasConfig tells whether a unit's config file is there already, for its process to read.
func (b *Backend) hasConfig(u supervisor.Unit) bool {
	had, err := b.ReadConfig(u.ID)
	if err != nil || had != u.Config {
		return false
	}
	path := b.configPath(u.ID)
	return u.UnixUID == 0 || isGiven(path, u.UnixUID) && isGiven(filepath.Dir(path), u.UnixUID)
}

func isGiven(path string, uid int) bool {
	var info unix.Stat_t
	return unix.Stat(path, &info) == nil && int(info.Uid) == uid && info.Mode&unix.S_IRUSR != 0
}

// give hands a file to a unit's user, for reading only.
func give(path string, uid int, mode fs.FileMode) error {
	return errors.Join(os.Chown(path, uid, uid), os.Chmod(path, mode))
}

// ReadConfig implements supervisor.Backend.
func (b *Backend) ReadConfig(id string) (string, error) {
	text, err := os.ReadFile(b.configPath(id))
	return string(text), err
}

// lockWait is how long lock waits for a lock that seems to be held. A child that another unit's start has just forked has
// a copy of every descriptor until its exec has closed them, and so the lock of one that we have closed since. The kernel
// lets the parent of a vfork go on before that, so not even syscall.ForkLock keeps such a child away.
const lockWait = 800 * time.Millisecond

// lock takes a unit's run.lock, with flags such as os.O_CREATE: supervisor.ErrRunning if a process holds it.
func (b *Backend) lock(id string, flags int) (*os.File, error) {
	for deadline := time.Now().Add(lockWait); ; time.Sleep(time.Millisecond) {
		f, err := b.tryLock(id, flags)
		if !errors.Is(err, supervisor.ErrRunning) || time.Now().After(deadline) {
			return f, err
		}
	}
}

// tryLock is lock without the wait: it may take a half-born child for a running process.
func (b *Backend) tryLock(id string, flags int) (*os.File, error) {
	f, err := os.OpenFile(b.lockPath(id), os.O_RDWR|flags, 0o600)
	if errors.Is(err, unix.EROFS) {
		f, err = os.Open(b.lockPath(id)) // it can be locked all the same
	}
	if err != nil {
		return nil, fmt.Errorf("open the lock of %s: %w", id, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is locked", supervisor.ErrRunning, b.lockPath(id))
		}
		return nil, fmt.Errorf("lock %s: %w", b.lockPath(id), err)
	}
	return f, nil
}

// run is the text of run.json.
type run struct {
	BootID     string    `json:"boot_id"`
	PID        int       `json:"pid"`
	StartTicks uint64    `json:"start_ticks"` // since boot, as in /proc/<pid>/stat: a clock that no one sets
	StartedAt  time.Time `json:"started_at"`
	Program    string    `json:"program,omitempty"`
}

func (b *Backend) writeRun(p supervisor.Process) error {
	ticks, err := startTicks(p.PID)
	if err != nil {
		return err
	}
	text, err := json.Marshal(run{BootID: b.boot, PID: p.PID, StartTicks: ticks, StartedAt: p.StartedAt.UTC(), Program: p.Program})
	if err != nil {
		return err
	}
	path := filepath.Join(b.cfg.Units, p.ID, runFile)
	if err := os.WriteFile(path+".next", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".next", path)
}

// noted is what run.json says. It may be about a process that is gone, or of another boot.
func (b *Backend) noted(id string) (run, error) {
	var r run
	text, err := os.ReadFile(filepath.Join(b.cfg.Units, id, runFile))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

// readRun returns the hint about a unit's process if it is of this boot and about this very process.
func (b *Backend) readRun(id string, pid int) (run, bool) {
	r, err := b.noted(id)
	if err != nil {
		return r, false
	}
	ticks, err := startTicks(pid)
	return r, err == nil && r.BootID == b.boot && r.PID == pid && r.StartTicks == ticks
}

// unitOf returns the unit whose config a command line names: exactly <program> <flag> <units>/<id>/conf/<config>.
func (b *Backend) unitOf(argv []string) (string, bool) {
	if len(argv) != 3 || argv[1] != b.cfg.Flag {
		return "", false
	}
	rest, ok := strings.CutPrefix(argv[2], b.cfg.Units+string(filepath.Separator))
	if !ok {
		return "", false
	}
	id, _, _ := strings.Cut(rest, string(filepath.Separator))
	return id, id != "" && argv[2] == b.configPath(id)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
