package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// UIDRange is a range of unix user ids: Count of them from Base on. The zero range has none.
//
// A user of its own gives each process its own quota of inotify instances (128 by default, and each rathole needs one),
// and keeps it from signalling or reading its neighbours.
type UIDRange struct{ Base, Count int }

// ParseUIDs reads "base:count"; "0" is the zero range.
func ParseUIDs(text string) (UIDRange, error) {
	if text == "0" {
		return UIDRange{}, nil
	}
	base, count, ok := strings.Cut(text, ":")
	b, err1 := strconv.Atoi(base)
	c, err2 := strconv.Atoi(count)
	if !ok || err1 != nil || err2 != nil || b < 1 || c < 1 || b > 1<<31-1-c {
		return UIDRange{}, fmt.Errorf("%q is not base:count, such as 200000:10001, nor 0", text)
	}
	return UIDRange{Base: b, Count: c}, nil
}

// Usable tells why processes cannot run as these users with their files below dir; nil if they can.
func (r UIDRange) Usable(dir string) error {
	if os.Geteuid() != 0 {
		return errors.New("this service does not run as root")
	}
	if missing, err := missingCapabilities(); err != nil || len(missing) > 0 {
		return errors.Join(err, fmt.Errorf("this service lacks the capabilities %s", strings.Join(missing, ", ")))
	}
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err
	}
	if !r.mapped(string(text)) {
		return fmt.Errorf("this user namespace has no users %d-%d", r.Base, r.Base+r.Count-1)
	}
	for d := dir; ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("%s cannot be searched by other users (chmod o+x would allow it)", d)
		}
		if d == filepath.Dir(d) {
			return nil
		}
	}
}

// missingCapabilities are those that running processes as other users takes and this service has not: to become them, to
// signal them, and to hand them files and still replace those.
func missingCapabilities() ([]string, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	_, after, _ := strings.Cut(string(text), "\nCapEff:\t")
	effective, err := strconv.ParseUint(strings.SplitN(after, "\n", 2)[0], 16, 64)
	if err != nil {
		return nil, fmt.Errorf("read the effective capabilities: %w", err)
	}
	var missing []string
	for _, c := range []struct {
		bit  int
		name string
	}{
		{unix.CAP_CHOWN, "CAP_CHOWN"},
		{unix.CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
		{unix.CAP_FOWNER, "CAP_FOWNER"},
		{unix.CAP_KILL, "CAP_KILL"},
		{unix.CAP_SETGID, "CAP_SETGID"},
		{unix.CAP_SETUID, "CAP_SETUID"},
	} {
		if effective&(1<<c.bit) == 0 {
			missing = append(missing, c.name)
		}
	}
	return missing, nil
}

// mapped tells whether one line of a uid_map (first inside, first outside, length) has the whole range.
func (r UIDRange) mapped(uidMap string) bool {
	for line := range strings.Lines(uidMap) {
		var inside, outside, length int
		if n, err := fmt.Sscan(line, &inside, &outside, &length); n != 3 || err != nil {
			continue
		}
		if inside <= r.Base && r.Base+r.Count <= inside+length {
			return true
		}
	}
	return false
}

// claim begins the creation of a unit: nobody takes its process for a stranger's from here on. It chooses the user of the
// unit: the one that the fewest units have, which is none as long as the range lasts.
func (s *Supervisor[S]) claim(id string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseStranger(id); err != nil {
		return 0, err
	}
	s.creating[id] = s.leastUsedUID()
	return s.creating[id], nil
}

// leastUsedUID is 0 if units have no users of their own. s.mu is held.
func (s *Supervisor[S]) leastUsedUID() int {
	if s.cfg.UIDs.Count == 0 {
		return 0
	}
	users := make([]int, s.cfg.UIDs.Count)
	count := func(uid int) {
		if n := uid - s.cfg.UIDs.Base; n >= 0 && n < len(users) {
			users[n]++
		}
	}
	for _, u := range s.units {
		v, _ := u.snapshot()
		count(v.Record.UnixUID)
	}
	for _, uid := range s.creating {
		count(uid)
	}
	least := 0
	for n := range users {
		if users[n] < users[least] {
			least = n
		}
	}
	return s.cfg.UIDs.Base + least
}

// unclaim ends a unit's claim: from here on its record names it and its user, or nothing does.
func (s *Supervisor[S]) unclaim(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.creating, id)
}
