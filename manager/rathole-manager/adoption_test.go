package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/again"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// life is one run of the program within this process. Its end leaves the engines running.
type life struct {
	*client.Manager

	log locked
	end func()
}

func begin(t *testing.T, bind, state string, args ...string) *life {
	t.Helper()
	l := &life{}
	args = append([]string{"--listen", "127.0.0.1:0", "--no-auth", "--bind-address", bind, "--state-dir", state, "--binary", testkit.Rathole(t)}, args...)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() { ended <- run(ctx, args, io.Discard, &l.log, func(a net.Addr) { listening <- a }) }()
	done := false
	l.end = func() {
		if done {
			return
		}
		done = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the program ends: %v", err)
		}
		if t.Failed() {
			t.Logf("it says:\n%s", l.log.String())
		}
	}
	select {
	case address := <-listening:
		t.Cleanup(l.end)
		m, err := client.NewManager(client.Config{URL: "http://" + address.String()})
		if err != nil {
			t.Fatal(err)
		}
		l.Manager = m
	case err := <-ended:
		t.Fatalf("the program ended: %v\n%s", err, l.log.String())
	}
	wait.Eventually(t, 20*time.Second, func() error { return l.Ready(t.Context()) })
	return l
}

// engine is the pid of an instance's process, and its user.
func (l *life) engine(t *testing.T, id string) (pid int, user uint32) {
	t.Helper()
	i, err := l.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	c := i.Conditions[0]
	if _, err := fmt.Sscanf(c.Message, "rathole runs as process %d", &pid); err != nil || c.Status != api.True {
		t.Fatalf("%v %+v\n%s", err, c, l.log.String())
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		t.Fatal(err)
	}
	return pid, info.Sys().(*syscall.Stat_t).Uid
}

// mustAdopt makes an instance by a first life of the program, and wants each of the next ones, which are given the state
// directory under other names, to take its engine over, to change it without a restart and to end it at last.
func mustAdopt(t *testing.T, names []string, args ...string) (user uint32) {
	t.Helper()
	bind := testkit.Address(t).String()
	spec := func(services int) api.InstanceSpec {
		s := api.InstanceSpec{Services: map[string]api.ServiceSpec{}}
		for n := range services {
			s.Services[fmt.Sprint("s", n)] = api.ServiceSpec{Protocols: []api.Protocol{api.UDP}, LocalPort: 7777}
		}
		return s
	}
	first := begin(t, bind, names[0], args...)
	if _, _, err := first.Create(t.Context(), api.CreateInstance{ServerID: "one", InstanceSpec: spec(1)}, client.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pid, user := first.engine(t, "one")
	t.Cleanup(func() { mustNotBeLeft(t, pid) })
	first.end()
	var last *life
	for n, name := range names {
		last = begin(t, bind, name, args...)
		if got, _ := last.engine(t, "one"); got != pid || !strings.Contains(last.log.String(), "adopted") {
			t.Errorf("%s: process %d is now %d\n%s", name, pid, got, last.log.String())
		}
		if _, err := last.Update(t.Context(), "one", api.UpdateInstance{InstanceSpec: spec(n + 2)}, client.UpdateOptions{}); err != nil {
			t.Errorf("%s: change: %v", name, err)
		}
		if got, _ := last.engine(t, "one"); got != pid {
			t.Errorf("%s: process %d is after a change %d", name, pid, got)
		}
		last.end()
	}
	last = begin(t, bind, names[0], args...)
	if err := last.Delete(t.Context(), "one"); err != nil {
		t.Errorf("remove: %v", err)
	}
	return user
}

// mustNotBeLeft fails if an engine is, and ends it.
func mustNotBeLeft(t *testing.T, pid int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err == nil && strings.Contains(string(text), "server.toml") {
		t.Errorf("engine %d is left", pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// TestAdoptionByOtherNames gives each start the state directory by another name: engines are known by the path of their
// config, and so that must be the same.
func TestAdoptionByOtherNames(t *testing.T) {
	t.Parallel()
	dir := testkit.StateDir(t)
	state, link := filepath.Join(dir, "parent", "state"), filepath.Join(dir, "link")
	if err := os.MkdirAll(state, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{link: state, link + "2": link, filepath.Join(dir, "parent2"): filepath.Dir(state)} {
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	mustAdopt(t, []string{link, state, link + "2", filepath.Join(dir, "parent2", "state"), state + "/../state/"})
}

// TestAdoptionUnderAClosedUmask makes all directories under umask 077: engines with users of their own reach their files
// nevertheless.
func TestAdoptionUnderAClosedUmask(t *testing.T) {
	t.Parallel()
	if !again.In(t, "umask", again.Circumstances{}) { // the umask is a process's
		return
	}
	syscall.Umask(0o077)
	user := mustAdopt(t, []string{filepath.Join(testkit.StateDir(t), "state")})
	if os.Geteuid() == 0 && user == 0 {
		t.Error("the engine runs as root")
	}
}

// TestAdoptionWithoutPtrace takes the capability away by which a process of root looks into those of others: with users of
// their own the engines are known by less.
func TestAdoptionWithoutPtrace(t *testing.T) {
	t.Parallel()
	if !again.In(t, "ptrace", again.Circumstances{Without: []int{unix.CAP_SYS_PTRACE}}) {
		return
	}
	if user := mustAdopt(t, []string{filepath.Join(testkit.StateDir(t), "own users")}); user == 0 {
		t.Error("the engine runs as root")
	}
	if user := mustAdopt(t, []string{filepath.Join(testkit.StateDir(t), "one user")}, "--unit-uids", "0"); user != 0 {
		t.Errorf("the engine runs as %d", user)
	}
}
