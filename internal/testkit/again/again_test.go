package again_test

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/testkit/again"
)

// Each of these tests says in the child what only the child can say, and fails there if the circumstances are others.

func TestAnotherUser(t *testing.T) {
	t.Parallel()
	const user = 250900
	if !again.In(t, "user", again.Circumstances{User: user}) {
		return
	}
	if os.Geteuid() != user {
		t.Errorf("it runs as %d", os.Geteuid())
	}
	if err := os.WriteFile(t.TempDir()+"/x", nil, 0o600); err != nil {
		t.Error(err)
	}
}

func TestRootInANamespace(t *testing.T) {
	t.Parallel()
	if !again.In(t, "root", again.Circumstances{Root: true}) {
		return
	}
	if mapped, err := os.ReadFile("/proc/self/uid_map"); err != nil || os.Geteuid() != 0 || strings.Contains(string(mapped), "4294967295") {
		t.Errorf("user %d, %q %v", os.Geteuid(), mapped, err)
	}
}

func TestProcessOne(t *testing.T) {
	t.Parallel()
	if !again.In(t, "pids", again.Circumstances{PIDs: true}) {
		return
	}
	if self, err := os.Readlink("/proc/self"); err != nil || self != "1" {
		t.Errorf("it is process %s (%v)", self, err)
	}
}

func TestFewerCapabilities(t *testing.T) {
	t.Parallel()
	if !again.In(t, "ptrace", again.Circumstances{Without: []int{unix.CAP_SYS_PTRACE}}) {
		return
	}
	if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_SYS_PTRACE, 0, 0, 0); err != nil || has != 0 {
		t.Errorf("CAP_SYS_PTRACE: %d %v", has, err)
	}
	if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_CHOWN, 0, 0, 0); err != nil || has != 1 {
		t.Errorf("CAP_CHOWN: %d %v", has, err)
	}
}
