package sockets

import (
	"sync"
	"time"
)

// foreignFor is how long a socket that a process did not hold counts as another's. A socket is seen an instant before its
// process holds it, and may be handed over.
const foreignFor = 5 * time.Second

// Owners answers the question of [Of] for many processes again and again, and asks /proc only about sockets that it has not
// met: an inode means one socket as long as that lives. The zero value is ready for use, by many goroutines.
type Owners struct {
	mu    sync.Mutex
	known map[int]*holding // by pid
}

type holding struct {
	held    map[uint64]struct{}
	foreign map[uint64]time.Time // when it was found not to be held
}

// Owned tells one process's sockets from others'.
type Owned struct {
	owners   *Owners
	pid, uid int
	err      error
}

// Of is about the process pid, which runs as the unix user uid if that is not 0, and no other process does.
func (o *Owners) Of(pid, uid int) *Owned { return &Owned{owners: o, pid: pid, uid: uid} }

// Has tells whether the process holds the socket. If that cannot be told it does not, and Err says why.
func (o *Owned) Has(s Socket) bool {
	if s.Inode == 0 {
		return false
	}
	if o.uid != 0 {
		return int(s.UID) == o.uid
	}
	has, err := o.owners.has(o.pid, s.Inode, time.Now())
	if err != nil {
		o.err = err
	}
	return has
}

// Err is why an answer of Has could not be given, with the errors of [Inodes]; nil if all could.
func (o *Owned) Err() error { return o.err }

func (o *Owners) has(pid int, inode uint64, now time.Time) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.known[pid]
	if h != nil {
		if _, ok := h.held[inode]; ok {
			return true, nil
		}
		if at, ok := h.foreign[inode]; ok && now.Sub(at) < foreignFor {
			return false, nil
		}
	}
	held, err := Inodes(pid)
	if err != nil {
		delete(o.known, pid)
		return false, err
	}
	if h == nil {
		h = &holding{foreign: map[uint64]time.Time{}}
		if o.known == nil {
			o.known = map[int]*holding{}
		}
		o.known[pid] = h
	}
	h.held = held
	_, ok := held[inode]
	if !ok {
		for old, at := range h.foreign {
			if now.Sub(at) >= foreignFor {
				delete(h.foreign, old)
			}
		}
		h.foreign[inode] = now
	}
	return ok, nil
}

// Keep forgets all processes but these.
func (o *Owners) Keep(pids map[int]struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for pid := range o.known {
		if _, ok := pids[pid]; !ok {
			delete(o.known, pid)
		}
	}
}
