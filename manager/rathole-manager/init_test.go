package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/scale"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// container is the program as process 1 of a PID namespace with a /proc of its own, on the test's own network and files.
// All pids here are those that the test sees.
type container struct {
	running
	binary, state string
}

func startContainer(t *testing.T, bind string, args ...string) *container {
	t.Helper()
	c := &container{binary: filepath.Join(t.TempDir(), "rathole-manager"), state: testkit.StateDir(t)}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", c.binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	c.Cmd = exec.Command("/bin/sh", append([]string{
		"-c", `mount -t proc proc /proc && exec "$@"`, "sh", c.binary,
		"--listen", address, "--bind-address", bind, "--state-dir", c.state,
	}, args...)...)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "RATHOLE_TOKEN=" + testkit.Token, "RATHOLE_BINARY=" + testkit.Rathole(t), "RATHOLE_RESTART_PAUSE=10ms"}
	c.Stdout, c.Stderr = &c.log, &c.log
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	if err := c.Start(); err != nil {
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
			t.Skipf("this machine lets nobody but root make a PID namespace (%v); internal/service tests the init as a subreaper", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // and the kernel kills all that is in there
		if t.Failed() {
			t.Logf("it says:\n%s", c.log.String())
		}
	})
	c.client, err = client.NewManager(client.Config{URL: "http://" + address, Token: secret.New(testkit.Token)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// process is a line of ps.
type process struct {
	pid, parent int
	state       string
	args        string
	uid         uint32
}

// processes are those in the container.
func (c *container) processes(t *testing.T) []process {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	all := map[int]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // gone meanwhile
		}
		fields := strings.Fields(string(stat)[strings.LastIndexByte(string(stat), ')')+1:])
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			t.Fatal(err)
		}
		p := process{pid: pid, parent: parent, state: fields[0]}
		if args, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")); err == nil {
			p.args = strings.ReplaceAll(string(args), "\x00", " ")
		}
		if info, err := os.Stat(filepath.Join("/proc", e.Name())); err == nil {
			p.uid = info.Sys().(*syscall.Stat_t).Uid
		}
		all[pid] = p
	}
	var inside []process
	for _, p := range all {
		for up := p; up.pid != 0; up = all[up.parent] {
			if up.pid == c.Process.Pid {
				inside = append(inside, p)
				break
			}
		}
	}
	return inside
}

// worker is the pid of the worker, which is not the one given.
func (c *container) worker(t *testing.T, but int) int {
	t.Helper()
	found := 0
	wait.Eventually(t, 10*time.Second, func() error {
		for _, p := range c.processes(t) {
			if p.parent == c.Process.Pid && p.pid != but && p.state != "Z" && strings.HasPrefix(p.args, c.binary+" ") {
				found = p.pid
				return nil
			}
		}
		return fmt.Errorf("no worker other than %d", but)
	})
	return found
}

// engine is the process that serves an instance.
func (c *container) engine(t *testing.T, id string) process {
	t.Helper()
	all := c.processes(t)
	i := slices.IndexFunc(all, func(p process) bool {
		return strings.Contains(p.args, " -s "+c.state+"/instances/"+id+"/")
	})
	if i < 0 {
		t.Fatalf("no engine of %s among %+v", id, all)
	}
	return all[i]
}

// mustAdopt waits until a worker is ready, and has adopted so many engines since the start of the container.
func (c *container) mustAdopt(t *testing.T, engines int) {
	t.Helper()
	wait.Eventually(t, 20*time.Second, func() error {
		if got := strings.Count(c.log.String(), "msg=adopted "); got < engines {
			return fmt.Errorf("%d engines adopted, want %d", got, engines)
		}
		return c.client.Ready(t.Context())
	})
}

// mustHaveNoZombies fails if anything that ended stays: what has just ended may be seen before it is reaped.
func (c *container) mustHaveNoZombies(t *testing.T) {
	t.Helper()
	wait.Eventually(t, 2*time.Second, func() error {
		for _, p := range c.processes(t) {
			if p.state == "Z" {
				return fmt.Errorf("a zombie: %+v", p)
			}
		}
		return nil
	})
}

// open makes an instance with a client on a, and waits until it is healthy.
func (c *container) open(t *testing.T, a *testkit.Agent, id, host string, port int) {
	t.Helper()
	_, _, err := c.client.Create(t.Context(), api.CreateInstance{
		ServerID: id, InstanceSpec: api.InstanceSpec{GamePort: port, HostIP: host},
	}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := c.client.ClientConfig(t.Context(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Configure(t.Context(), id, cfg.Config, false); err != nil {
		t.Fatal(err)
	}
	if i, err := c.client.Wait(t.Context(), id, api.StatusHealthy, 10*time.Second); err != nil || i.Status != api.StatusHealthy {
		t.Fatalf("%s: %v %+v", id, err, i.Conditions)
	}
}

// talk keeps a player asking until the returned function is called, which tells how many answers there were, and the first
// that was wrong or missing.
func talk(t *testing.T, protocol api.Protocol, address string) func() (int, error) {
	t.Helper()
	player, err := game.Join(t.Context(), protocol, address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var (
		wg      sync.WaitGroup
		answers int
		wrong   error
	)
	wg.Go(func() {
		defer func() { _ = player.Leave() }()
		for ctx.Err() == nil {
			message := fmt.Sprint("message ", answers)
			if got, err := player.Ask(message); err != nil || got != message {
				wrong = fmt.Errorf("%s: answer %q, %w", message, got, err)
				return
			}
			answers++
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return func() (int, error) {
		cancel()
		wg.Wait()
		return answers, wrong
	}
}

// TestProcessOne kills the worker of a container again and again under players who keep talking, then ends the container.
func TestProcessOne(t *testing.T) {
	t.Parallel()
	kills := scale.Of(t, "FAULTS_WORKERS", 10)
	bind := testkit.Address(t).String()
	server := testkit.StartGame(t, "lasting", 30000, 30001, 30002)
	a := testkit.StartAgent(t, nil)
	c := startContainer(t, bind)
	c.mustAdopt(t, 0)
	c.open(t, a, "one", server.Host.String(), 30000)
	c.open(t, a, "brief", server.Host.String(), 30001)
	engine, worker := c.engine(t, "one"), c.worker(t, 0)
	if engine.parent != worker {
		t.Errorf("the engine's parent is %d, want the worker %d", engine.parent, worker)
	}
	if os.Geteuid() == 0 && engine.uid < 200000 {
		t.Errorf("the engine runs as user %d, want one of its own", engine.uid)
	}
	players := map[api.Protocol]func() (int, error){}
	for _, protocol := range []api.Protocol{api.TCP, api.UDP} {
		players[protocol] = talk(t, protocol, bind+":30000")
	}
	signal := func(pid int, sig syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatalf("%s to %d: %v", sig, pid, err)
		}
	}
	for n := range kills {
		before := strings.Count(c.log.String(), "msg=adopted ")
		signal(worker, syscall.SIGKILL)
		worker = c.worker(t, worker)
		if n%5 == 4 { // in the midst of its start, too
			signal(worker, syscall.SIGKILL)
			worker = c.worker(t, worker)
		}
		c.mustAdopt(t, before+2)
		c.mustHaveNoZombies(t)
		if now := c.engine(t, "one"); now.pid != engine.pid || now.parent != c.Process.Pid {
			t.Fatalf("after kill %d the engine is process %d of %d, want %d of the init", n, now.pid, now.parent, engine.pid)
		}
	}
	// The new worker ends an engine that is not its child, and has one of its own.
	brief := c.engine(t, "brief").pid
	if err := c.client.Delete(t.Context(), "brief"); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 2*time.Second, func() error {
		if !errors.Is(syscall.Kill(brief, 0), syscall.ESRCH) {
			return errors.New("the deleted instance's engine is there")
		}
		return nil
	})
	c.open(t, a, "two", server.Host.String(), 30002)
	signal(c.Process.Pid, syscall.SIGHUP)
	for protocol, end := range players {
		if answers, err := end(); err != nil || answers < kills {
			t.Errorf("%s: dropped after %d answers: %v", protocol, answers, err)
		}
	}

	inside := c.processes(t)
	if len(inside) != 4 { // init, worker, two engines
		t.Errorf("%d processes, want 4: %+v", len(inside), inside)
	}
	begin := time.Now()
	signal(c.Process.Pid, syscall.SIGTERM)
	if err := c.Wait(); err != nil {
		t.Errorf("the container ends with %v", err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("its end took %s", took)
	}
	if strings.Contains(c.log.String(), "what the worker left") {
		t.Error("the worker did not stop its engines itself")
	}
	for _, p := range inside {
		if err := syscall.Kill(p.pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("left: %+v", p)
		}
	}
}

// TestProcessOneThatIsRefused wants the container to end with a sentence, instead of trying for ever.
func TestProcessOneThatIsRefused(t *testing.T) {
	t.Parallel()
	c := startContainer(t, "0.0.0.0")
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 || strings.Count(c.log.String(), "RATHOLE_PUBLIC_HOST") != 1 {
		t.Errorf("%v\n%s", err, c.log.String())
	}
}
