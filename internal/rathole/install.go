package rathole

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Install copies the binary to <dir>/<version>/rathole and gives the copy, so that any unix user can execute it and a new
// version is a new path, not a change under running processes. The file is 0755, both directories 0711. Where the same
// bytes are there already, nothing is written. The copy is complete and on disk before it gets its name.
func Install(b Binary, dir string) (Binary, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Binary{}, fmt.Errorf("install rathole: %w", err)
	}
	into := filepath.Join(dir, b.Version)
	target := filepath.Join(into, "rathole")
	for _, d := range []string{dir, into} {
		if err := makeDir(d); err != nil {
			return Binary{}, fmt.Errorf("install rathole: %w", err)
		}
	}
	installed := b
	installed.Path = target
	same, err := sameBytes(b.Path, target)
	if err != nil {
		return Binary{}, fmt.Errorf("install rathole: %w", err)
	}
	if same {
		return installed, chmod(target, 0o755)
	}
	if err := copyDurably(b.Path, into, target); err != nil {
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

func sameBytes(source, target string) (bool, error) {
	have, err := os.Open(target)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = have.Close() }()
	want, err := os.Open(source)
	if err != nil {
		return false, err
	}
	defer func() { _ = want.Close() }()
	a, b := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, errA := io.ReadFull(have, a)
		m, errB := io.ReadFull(want, b)
		if n != m || !bytes.Equal(a[:n], b[:m]) {
			return false, nil
		}
		endA, endB := endOfFile(errA), endOfFile(errB)
		switch {
		case errA != nil && !endA:
			return false, errA
		case errB != nil && !endB:
			return false, errB
		case endA && endB:
			return true, nil
		}
	}
}

func endOfFile(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

func copyDurably(source, dir, target string) (err error) {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := os.CreateTemp(dir, ".rathole-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = to.Close()
			_ = os.Remove(to.Name())
		}
	}()
	if _, err := io.Copy(to, from); err != nil {
		return err
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
	parent, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	return parent.Sync()
}
