package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockWait is how long LockState tries. A service that was killed in the middle of a fork keeps its lock until the
// half-born child has become the engine (the fork copies the descriptor, the exec closes it): waiting that out is what
// makes the scan for running engines complete.
const lockWait = 800 * time.Millisecond

// LockState makes the state directory (0711: a unit's process may run as another user and must reach its config) and takes
// its lock, so that no two services ever hold the same records. Close the file to give the lock back; the end of the
// process does too.
func LockState(state string) (*os.File, error) {
	if _, err := os.Stat(state); errors.Is(err, fs.ErrNotExist) { // one that is there keeps the mode that it was given
		if err := makeSearchable(state); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(state, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, unix.EROFS) {
		f, err = os.Open(path) // it can be locked all the same, and running units taken over
	}
	if err != nil {
		return nil, fmt.Errorf("open the lock of the state directory: %w", err)
	}
	for deadline := time.Now().Add(lockWait); ; time.Sleep(10 * time.Millisecond) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			break
		}
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("another service already runs on %s (it holds %s): stop it, or give this one a state directory of its own", state, path)
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}
