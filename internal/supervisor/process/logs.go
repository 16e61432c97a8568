package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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

// trim cuts every log of a unit that is larger than limit bytes. What else lies in the directory is not ours.
func (b *Backend) trim(limit int64) error {
	entries, err := os.ReadDir(b.cfg.Logs)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !isUnitLog(e.Name()) || info.Size() <= limit {
			continue // gone meanwhile, or small
		}
		if err := cut(filepath.Join(b.cfg.Logs, e.Name())); err != nil {
			errs = append(errs, fmt.Errorf("cut %s: %w", e.Name(), err))
		}
	}
	return errors.Join(errs...)
}

func isUnitLog(name string) bool {
	return strings.HasSuffix(name, logSuffix) || strings.HasSuffix(name, errSuffix)
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
