package sockets

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// TestInodes is not parallel: the child holds copies of other tests' sockets until its exec.
func TestInodes(t *testing.T) {
	l := listenTCP(t, "tcp4", "127.0.0.1:0")
	s := mustFindListener(t, l)
	mine, err := Inodes(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := mine[s.Inode]; !ok {
		t.Fatalf("inode %d is not among %v", s.Inode, mine)
	}

	inherited, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	child := exec.Command("cat")
	child.ExtraFiles = []*os.File{inherited}
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	theirs, err := Inodes(child.Process.Pid)
	if err != nil {
		t.Error(err)
	}
	if _, ok := theirs[s.Inode]; !ok || len(theirs) != 1 {
		t.Errorf("the child holds %v, want %d alone", theirs, s.Inode)
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := Inodes(child.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("sockets of a process that is gone: %v", err)
	}
}

func TestSocketInode(t *testing.T) {
	t.Parallel()
	for link, want := range map[string]uint64{
		"socket:[4711]": 4711, "socket:[4711": 0, "socket:[]": 0, "socket:[-1]": 0, "pipe:[4711]": 0, "/dev/null": 0, "": 0,
	} {
		if got, ok := socketInode([]byte(link)); got != want || ok != (want != 0) {
			t.Errorf("%q: %d, %v", link, got, ok)
		}
	}
}

func mustFindListener(t *testing.T, l net.Listener) Socket {
	t.Helper()
	owner, found, err := Holder(t.Context(), api.TCP, addrPort(l.Addr()))
	if err != nil || !found {
		t.Fatalf("no listener at %s: %v", l.Addr(), err)
	}
	return owner.Socket
}
