package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A client that cannot reach its server writes 17-30 MB of log a day for each service. Each of a unit's two files is cut
// when it is found larger than logCap bytes, and what it held is kept once, as <file>.1: about 4 MiB a unit.
const (
	logCap    = 1 << 20
	oldSuffix = ".1"
	logSuffix = ".log"
	errSuffix = ".err"
)

// openLog opens a log for appending, so that it can be cut while the process writes.
func (b *Backend) openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // somebody has removed the directory, or it could not be made before
		if err := os.MkdirAll(b.cfg.Logs, 0o700); err != nil {
			return nil, fmt.Errorf("make the log directory: %w", err)
		}
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return f, nil
}

// outOfFiles tells whether an error is about descriptors, and not about the file that was to be opened.
func outOfFiles(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// Tidy implements supervisor.Backend.
func (b *Backend) Tidy() error {
	kills := b.kernel.OOMKills()
	b.mu.Lock()
	b.oomKills = kills
	var errs []error
	for _, t := range b.known {
		if t.errs != nil && t.proc.Exit == nil {
			errs = append(errs, trimStderr(t.errs))
		}
	}
	b.mu.Unlock()
	return errors.Join(append(errs, b.trim(logCap))...)
}

// trim cuts every log of a process of ours that is larger than limit bytes. What else is in the directory, which may be
// /var/log, is not ours to cut. One log that cannot be cut does not keep the others from it.
func (b *Backend) trim(limit int64) error {
	b.mu.Lock()
	var paths []string
	for _, t := range b.known {
		paths = append(paths, t.proc.Log, t.proc.ErrLog)
	}
	b.mu.Unlock()
	var errs []error
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() || info.Size() <= limit {
			continue // gone, or none of the process's making, or small
		}
		if err := cut(path); err != nil {
			errs = append(errs, fmt.Errorf("cut %s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

// cut copies a log aside and empties it in place: the engine goes on writing into the same open file, which O_APPEND makes
// safe. What it writes between the copy and the cut is lost. On a full disk the copy fails, and the cut is what helps.
func cut(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	old, err := os.OpenFile(path+oldSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = io.Copy(old, f)
		err = errors.Join(err, old.Close())
	}
	return errors.Join(err, f.Truncate(0))
}
