package supervisor_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/testkit/again"
)

// few is how many processes the guard lets be stopped whatever their share; a tenth of all is the other limit.
const few = 10

// TestLostRecordsUnderALiveCrowd loses records in the ways in which they get lost, under running processes, and counts who
// is stopped.
func TestLostRecordsUnderALiveCrowd(t *testing.T) {
	t.Parallel()
	remove := func(count int) func(*crowd) error {
		return func(c *crowd) error {
			for n := range count {
				if err := os.RemoveAll(filepath.Join(c.units(), name(n))); err != nil {
					return err
				}
			}
			return nil
		}
	}
	// put is what a person does who unpacks a backup in the place of what is there.
	put := func(c *crowd, backup string) error {
		return errors.Join(os.RemoveAll(c.units()), os.CopyFS(c.units(), os.DirFS(backup)))
	}
	for story, tc := range map[string]struct {
		running int
		lose    func(*crowd) error
		lost    int  // units without a record; the first ones
		stopped bool // and their processes stopped
	}{
		"a few were removed by hand":     {100, remove(few), few, true},
		"a few and one more":             {100, remove(few + 1), few + 1, false},
		"a tenth of 500":                 {500, remove(50), 50, true},
		"a tenth of 500, and one more":   {500, remove(51), 51, false},
		"all units were removed by hand": {100, remove(100), 100, false},
		"the directory was removed":      {30, func(c *crowd) error { return os.RemoveAll(c.units()) }, 30, false},
		"the directory was moved away and made anew": {30, func(c *crowd) error {
			return errors.Join(os.Rename(c.units(), c.units()+".old"), os.Mkdir(c.units(), 0o711))
		}, 30, false},
		"an old backup was restored": {100, func(c *crowd) error {
			backup := filepath.Join(c.t.TempDir(), "backup")
			if err := os.CopyFS(backup, os.DirFS(c.units())); err != nil {
				return err
			}
			old := crowd{house: &house{t: c.t, state: filepath.Dir(backup)}}
			if err := os.Rename(backup, old.units()); err != nil {
				return err
			}
			return errors.Join(remove(few+1)(&old), put(c, old.units()))
		}, few + 1, false},
		"a whole backup was restored": {30, func(c *crowd) error {
			backup := filepath.Join(c.t.TempDir(), "backup")
			return errors.Join(os.CopyFS(backup, os.DirFS(c.units())), put(c, backup))
		}, 0, false},
	} {
		t.Run(story, func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t)
			s := c.open()
			pids := c.mustFill(s, tc.running)
			s.end()
			if err := tc.lose(c); err != nil {
				t.Fatal(err)
			}
			mustBeCounted(t, c, pids, tc.lost, tc.stopped)
		})
	}
}

// mustBeCounted opens a supervisor after the first units have lost their records, and tells whose process may not run.
func mustBeCounted(t *testing.T, c *crowd, pids map[string]int, lost int, stopped bool) {
	t.Helper()
	s := c.open()
	var without []string
	for n := range lost {
		id := name(n)
		without = append(without, id)
		if running := alive(pids[id]); running == stopped {
			t.Errorf("the process of %s runs: %v", id, running)
		}
	}
	mustServe(t, s, pids, without...)
	switch alarm := s.Alarm(); {
	case (alarm != nil) != (lost > 0 && !stopped):
		t.Errorf("alarm: %v", alarm)
	case alarm != nil && !strings.Contains(alarm.Error(), "no record"):
		t.Errorf("the alarm says %q", alarm)
	}
}

// TestStateOnAMountThatIsMissing starts a service whose state directory is a mount of its own, when that is not mounted: in
// its place is the empty mount point.
func TestStateOnAMountThatIsMissing(t *testing.T) {
	t.Parallel()
	if !again.In(t, "mounts", again.Circumstances{Mounts: true}) {
		return
	}
	c := newCrowd(t)
	c.state = filepath.Join(c.state, "mount")
	if err := os.Mkdir(c.state, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("records", c.state, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	s := c.open()
	const running = 20
	pids := c.mustFill(s, running)
	s.end()
	disk, err := os.Open(c.state) // the disk is still there, and its mount
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = disk.Close() }()
	if err := unix.Unmount(c.state, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	mustBeCounted(t, c, pids, running, false)
	mustLive(t, pids)
}

// TestAnotherStateDirectory starts a service on a directory that has nothing to do with the processes of another one.
func TestAnotherStateDirectory(t *testing.T) {
	t.Parallel()
	ours, theirs := newCrowd(t), newCrowd(t)
	theirs.state = ours.state + "-2" // a path that begins like ours
	t.Cleanup(func() { _ = os.RemoveAll(theirs.state) })
	ours.mustFill(ours.open(), 5)
	s := theirs.open()
	pids := theirs.mustFill(s, 5)
	s.end()
	again := newCrowd(t)
	again.state = filepath.Join(ours.state, "empty")
	if s := again.open(); s.Alarm() != nil || len(s.List()) != 0 {
		t.Errorf("alarm %v, units %v", s.Alarm(), s.List())
	}
	mustLive(t, pids)
	mustServe(t, theirs.open(), pids)
}
