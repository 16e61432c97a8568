package sockets

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Inodes returns the inodes of the sockets of every kind that a process holds, from /proc/<pid>/fd; a zombie holds none.
// Another user's process needs CAP_SYS_PTRACE, else the error is fs.ErrPermission; a process that is gone is
// fs.ErrNotExist (one that ends during the read may still give a part). A pid may belong to another process by now: hold a
// pidfd where that matters.
func Inodes(pid int) (map[uint64]struct{}, error) {
	inodes := make(map[uint64]struct{})
	err := visitInodes(pid, func(inode uint64) bool {
		inodes[inode] = struct{}{}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("read the sockets of process %d: %w", pid, err)
	}
	return inodes, nil
}

// visitInodes calls visit with the inode of every socket that the process holds, until it returns false.
func visitInodes(pid int, visit func(inode uint64) (more bool)) error {
	dir, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	fd := int(dir.Fd())
	var link [64]byte
	for _, name := range names {
		n, err := unix.Readlinkat(fd, name, link[:])
		if errors.Is(err, unix.ENOENT) {
			continue // closed, or the process gone, since the directory was read
		}
		if err != nil {
			return &fs.PathError{Op: "readlink", Path: filepath.Join(dir.Name(), name), Err: err}
		}
		inode, ok := socketInode(link[:n])
		if ok && !visit(inode) {
			return nil
		}
	}
	return nil
}

// socketInode reads N from "socket:[N]".
func socketInode(link []byte) (uint64, bool) {
	digits, ok := bytes.CutPrefix(link, []byte("socket:["))
	if !ok {
		return 0, false
	}
	digits, ok = bytes.CutSuffix(digits, []byte("]"))
	if !ok {
		return 0, false
	}
	inode, err := strconv.ParseUint(string(digits), 10, 64)
	return inode, err == nil
}

// Of returns what tells a process's sockets from others'. A process that has a unix user of its own is known by that
// user, which needs no privilege over it; else (uid 0) by the descriptors that it holds, with the errors of [Inodes].
func Of(pid, uid int) (func(Socket) bool, error) {
	if uid != 0 {
		return func(s Socket) bool { return int(s.UID) == uid && s.Inode != 0 }, nil
	}
	held, err := Inodes(pid)
	return func(s Socket) bool {
		_, ours := held[s.Inode]
		return ours
	}, err
}
