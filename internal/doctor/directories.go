package doctor

import (
	"errors"
	"fmt"
	"io/fs"
)

const (
	mib = 1 << 20
	// diskLow and diskFull are bytes. A record is some 10 KiB and a log is capped; what fills a disk is usually something else.
	diskLow  = 512 * mib
	diskFull = 64 * mib
	// A record takes six files and four directories: inodesFull is a hundred records.
	inodesLow  = 10000
	inodesFull = 1000
)

// checkDirectory tells whether a directory, or the one in which it would be made, can be written and has room.
func checkDirectory(sys System, check, dir, setting string) Finding {
	f := Finding{Check: check, Status: OK}
	there := sys.existing(dir)
	write := sys.TryWrite
	if there != dir {
		write = sys.MayWrite
	}
	if err := write(there); err != nil {
		f.Status, f.Value = Fail, fmt.Sprintf("%s cannot be written: %v", there, err)
		f.Mend = fmt.Sprintf("run as a user who may write there, make room, or choose another directory with %s", setting)
		return f
	}
	free, err := sys.Space(there)
	if err != nil {
		return unreadable(check, err)
	}
	f.Value = fmt.Sprintf("%s: %s free", dir, size(free.Bytes))
	if there != dir {
		f.Value += ", will be made"
	}
	low, full := free.Bytes < diskLow, free.Bytes < diskFull
	if free.Counted && free.Inodes < inodesLow {
		f.Value += fmt.Sprintf(", %d inodes", free.Inodes)
		low, full = true, full || free.Inodes < inodesFull
	}
	switch {
	case full:
		f.Status = Fail
	case low:
		f.Status = Warn
	default:
		return f
	}
	f.Mend = fmt.Sprintf("make room, or choose another directory with %s", setting)
	return f
}

// checkState is about who may enter the records, and whether a service has them.
func checkState(sys System, s Settings, running occupied, units uint64) Finding {
	f := Finding{Check: "state directory", Status: OK}
	place, err := sys.Stat(s.State)
	if errors.Is(err, fs.ErrNotExist) {
		f.Value = s.State + " will be made at the first start"
		return f
	}
	if err != nil {
		return unreadable(f.Check, err)
	}
	f.Value = fmt.Sprintf("%s, records: %d, %s", s.State, units, running)
	switch {
	case !place.Mode.IsDir():
		f.Status, f.Value, f.Mend = Fail, s.State+" is no directory", "choose a directory with RATHOLE_STATE_DIR"
	case place.Mode.Perm()&0o022 != 0:
		f.Status = Warn
		f.Mend = fmt.Sprintf("others may replace its records (mode %04o): chmod go-w %s", place.Mode.Perm(), s.State)
	case place.Owner != sys.UID:
		f.Status = Warn
		f.Mend = fmt.Sprintf("it belongs to user %d and doctor runs as user %d: run both as one user", place.Owner, sys.UID)
	}
	return f
}

func size(n uint64) string {
	if n < 10*1024*mib {
		return fmt.Sprintf("%d MiB", n/mib)
	}
	return fmt.Sprintf("%d GiB", n/(1024*mib))
}
