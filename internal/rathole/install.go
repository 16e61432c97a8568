package rathole

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Install copies a binary that Find gave to <dir>/<its name>/rathole and gives the copy, so that any unix user can execute
// it, and another build is another path, not a change under running processes. The file is 0755, both directories 0711.
// Where the same bytes are there already, nothing is written. The copy is complete and on disk before it gets its name.
func Install(b Binary, dir string) (Binary, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Binary{}, fmt.Errorf("install rathole: %w", err)
	}
	into := filepath.Join(dir, b.Name())
	installed := b
	installed.Path = filepath.Join(into, "rathole")
	for _, d := range []string{dir, into} {
		if err := makeDir(d); err != nil {
			return Binary{}, fmt.Errorf("install rathole: %w", err)
		}
	}
	have, err := Digest(installed.Path)
	switch {
	case err == nil && have == b.SHA256:
		return installed, chmod(installed.Path, 0o755)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Binary{}, fmt.Errorf("install rathole: %w", err)
	}
	err = copyDurably(b, into, installed.Path)
	if err == nil {
		err = syncDir(dir) // the new directory's own name
	}
	if err != nil {
		return Binary{}, fmt.Errorf("install rathole: %w", err)
	}
	return installed, nil
}

// makeDir makes a directory that others may enter but not list, whatever the umask.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	return chmod(dir, 0o711)
}

// chmod asks first, so that a directory prepared by an administrator need not be ours.
func chmod(path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm() == mode {
		return nil
	}
	return os.Chmod(path, mode)
}

// copyDurably also sees to it that the name tells the truth: a package manager may replace the file while it is copied.
func copyDurably(b Binary, dir, target string) (err error) {
	if err := sweepCopies(dir); err != nil {
		return err
	}
	from, err := os.Open(b.Path)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := os.CreateTemp(dir, copyPrefix+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = to.Close()
			_ = os.Remove(to.Name())
		}
	}()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(to, sum), from); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != b.SHA256 {
		return fmt.Errorf("%s was changed while it was copied", b.Path)
	}
	if err := to.Chmod(0o755); err != nil {
		return err
	}
	if err := to.Sync(); err != nil {
		return err
	}
	if err := to.Close(); err != nil {
		return err
	}
	if err := os.Rename(to.Name(), target); err != nil {
		return err
	}
	return syncDir(dir)
}

// copyPrefix begins the name of a copy that is not complete yet.
const copyPrefix = ".rathole-"

// sweepCopies removes what an interrupted copy left.
func sweepCopies(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, copyPrefix+"*"))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// syncDir waits until the disk has a directory's entries.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
