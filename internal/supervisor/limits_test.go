package supervisor_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// spend opens files until only so many more can be opened, and returns what closes them.
func spend(t *testing.T, left int) func() {
	t.Helper()
	var spent []int
	for {
		fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		spent = append(spent, fd)
	}
	release := func() {
		for _, fd := range spent {
			_ = syscall.Close(fd)
		}
		spent = nil
	}
	for range left {
		_ = syscall.Close(spent[0])
		spent = spent[1:]
	}
	return release
}

// TestTakeOverWithoutFiles starts a supervisor that may not open as many files as it has processes to take over. It takes
// over what it can, says of the others what is missing, and takes them over later: none is started twice or stopped.
func TestTakeOverWithoutFiles(t *testing.T) {
	if !testkit.Alone(t, false) {
		return
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 200, Max: 200}); err != nil {
		t.Fatal(err)
	}
	for _, left := range []int{0, 4} {
		t.Run(fmt.Sprint(left, " left"), func(t *testing.T) {
			h := newHouse(t)
			s := h.open(nil)
			pids := map[string]int{}
			for i := range 6 {
				id := fmt.Sprint("unit", i)
				pids[id] = s.mustCreate(t, id, "run").Process.PID
			}
			s.end()
			var release func()
			s = h.open(func(*supervisor.Config[extra]) {
				release = spend(t, left)
				if left == 0 {
					time.AfterFunc(200*time.Millisecond, release) // it cannot even read its records before
				}
			})
			if left > 0 {
				wait.Eventually(t, 20*time.Second, func() error {
					for _, v := range s.List() {
						if v.Failure != nil && v.Failure.Reason == "open_files_exhausted" {
							return nil
						}
					}
					return fmt.Errorf("nothing is said of what lacks: %+v", s.List())
				})
				release()
			}
			wait.Eventually(t, 20*time.Second, func() error {
				for id, pid := range pids {
					v, err := s.Get(id)
					if err != nil || v.Phase != supervisor.PhaseRunning || v.Process.PID != pid || !v.Process.Adopted {
						return fmt.Errorf("%s: %w %+v", id, err, v)
					}
				}
				return nil
			})
		})
	}
}
