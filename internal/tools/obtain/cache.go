package obtain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cache keeps one directory per program and version, <dir>/<entry>/, with the executable and its sha256 beside it.
type cache struct {
	dir      string
	progress io.Writer
}

// filler makes the executable at the given path. work is a directory for whatever is needed on the way; it is removed.
type filler func(ctx context.Context, executable, work string) error

// get gives the path of an executable in the cache, calling fill only if it is not there or not intact. Any number of
// processes may ask at once: one makes it, the others wait.
func (c cache) get(ctx context.Context, entry, program string, fill filler) (string, error) {
	path := filepath.Join(c.dir, entry, program)
	if intact(path) == nil {
		return path, nil
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return "", fmt.Errorf("cache: %w (%s moves it)", err, CacheVariable)
	}
	unlock, err := c.lock(ctx, entry)
	if err != nil {
		return "", err
	}
	defer unlock()
	err = intact(path)
	if err == nil {
		return path, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		_, _ = fmt.Fprintf(c.progress, "%s is not what was put there (%v): made anew\n", path, err)
	}
	if err := c.put(ctx, entry, program, fill); err != nil {
		return "", err
	}
	return path, nil
}

// put makes an entry aside and gives it its name when it is complete, so that a reader without the lock never sees half
// of one.
func (c cache) put(ctx context.Context, entry, program string, fill filler) error {
	prefix := ".new-" + entry + "-"
	left, err := filepath.Glob(filepath.Join(c.dir, prefix+"*"))
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	for _, dir := range left { // of a process that was killed: the lock is ours, so nobody works there
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("cache: %w", err)
		}
	}
	aside, err := os.MkdirTemp(c.dir, prefix)
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	defer func() { _ = os.RemoveAll(aside) }()
	complete, work := filepath.Join(aside, "complete"), filepath.Join(aside, "work")
	for _, dir := range []string{complete, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("cache: %w", err)
		}
	}
	executable := filepath.Join(complete, program)
	if err := fill(ctx, executable, work); err != nil {
		return err
	}
	if err := seal(executable); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	final := filepath.Join(c.dir, entry)
	if err := os.RemoveAll(final); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	if err := os.Rename(complete, final); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	return nil
}

// lock waits for its turn to make an entry. It asks again and again because a blocking flock cannot be given up.
func (c cache) lock(ctx context.Context, entry string) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(c.dir, "."+entry+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cache: %w (%s moves it)", err, CacheVariable)
	}
	unlock = func() { _ = file.Close() } // the last descriptor ends the lock, also when this process is killed
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var waiting *progress
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			waiting.end()
			return unlock, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			waiting.end()
			unlock()
			return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
		}
		if waiting == nil {
			waiting = begin(c.progress, "another process is making "+entry+", waiting for it")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			waiting.end()
			unlock()
			return nil, fmt.Errorf("wait for another process that makes %s: %w", entry, context.Cause(ctx))
		}
	}
}

// seal makes the file executable for everybody and writes its sha256 beside it, in the form that sha256sum -c reads.
func seal(executable string) error {
	if err := os.Chmod(executable, 0o755); err != nil {
		return err
	}
	sum, err := sha256File(executable)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("%s  %s\n", sum, filepath.Base(executable))
	return os.WriteFile(executable+".sha256", []byte(line), 0o644)
}

// intact compares a file of the cache with the sum beside it: a full disk, a crash or a curious hand may have changed it.
func intact(executable string) error {
	line, err := os.ReadFile(executable + ".sha256")
	if err != nil {
		return err
	}
	want, _, _ := strings.Cut(string(line), " ")
	have, err := sha256File(executable)
	if err != nil {
		return err
	}
	if have != want {
		return errors.New("its sha256 is another")
	}
	return nil
}

func sha256File(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
