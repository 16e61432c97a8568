package limits

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// diskEmpty is in bytes: with fewer than four blocks left a disk counts as full.
const diskEmpty = 16 << 10

func diskFull(path string, quota bool) Trouble {
	dir := existing(path)
	const mend = "make room there, or move the records by RATHOLE_STATE_DIR"
	if quota {
		return Trouble{DiskFull, fmt.Sprintf("this user's disk quota is used up in %s: raise it, %s", dir, mend)}
	}
	return Trouble{DiskFull, fmt.Sprintf("%s; %s", fullness(dir), mend)}
}

// fullness says what a full disk has left.
func fullness(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Sprintf("the disk of %s is full", dir)
	}
	free := st.Bavail * uint64(st.Bsize)
	switch {
	case st.Files > 0 && st.Ffree == 0:
		return fmt.Sprintf("the disk of %s has no inode left for a further file: 0 of %d are free, beside %s", dir, st.Files, Bytes(free))
	case st.Files == 0:
		return fmt.Sprintf("the disk of %s is full: %s are free", dir, Bytes(free))
	}
	return fmt.Sprintf("the disk of %s is full: %s and %d inodes are free", dir, Bytes(free), st.Ffree)
}

func readOnly(path string) Trouble {
	dir := existing(path)
	mount := mountPoint(dir)
	return Trouble{ReadOnly, fmt.Sprintf("%s is on a disk that is mounted read-only: run `mount -o remount,rw %s`, and see in dmesg whether "+
		"the kernel had made it so after an error of the disk", dir, mount)}
}

// mountPoint is the highest directory that is on the same file system as dir.
func mountPoint(dir string) string {
	var here, above unix.Stat_t
	for unix.Stat(dir, &here) == nil {
		parent := filepath.Dir(dir)
		if parent == dir || unix.Stat(parent, &above) != nil || above.Dev != here.Dev {
			break
		}
		dir = parent
	}
	return dir
}

// Unwritable says why nothing can be written in a directory of logs now; empty if something can.
func Unwritable(dir string) string {
	const mend = "; or choose another directory by RATHOLE_LOG_DIR"
	var st unix.Statfs_t
	switch err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); {
	case err != nil:
		return fmt.Sprintf("%s cannot be written (%v): mend that%s", dir, err, mend)
	case unix.Statfs(dir, &st) == nil && (st.Bavail*uint64(st.Bsize) < diskEmpty || st.Files > 0 && st.Ffree == 0) && !boundless(st):
		return fullness(dir) + "; make room there" + mend
	}
	return ""
}

// boundless tells of a file system that counts nothing, such as ramfs.
func boundless(st unix.Statfs_t) bool { return st.Blocks == 0 }

// Bytes writes a size.
func Bytes(n uint64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	case n < 10<<30:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d GiB", n>>30)
}

// Room is what a disk has and what is left of it. Inodes is 0 where files are not bounded, Size where nothing is.
type Room struct {
	Size, Free         uint64 // bytes; Free is what an ordinary user may fill
	Inodes, FreeInodes uint64
}

// RoomOf measures the disk of a directory.
func RoomOf(dir string) (Room, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Room{}, fmt.Errorf("measure the disk of %s: %w", dir, err)
	}
	unit := uint64(st.Bsize)
	return Room{Size: st.Blocks * unit, Free: st.Bavail * unit, Inodes: st.Files, FreeInodes: st.Ffree}, nil
}
