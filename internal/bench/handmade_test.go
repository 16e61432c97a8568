package bench_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/testkit"
)

// handmade is all engines of a world, to be started with nothing of ours beside them.
type handmade struct {
	engine, address string
	pairs           []pair
}

// pair is the two engines of an instance.
type pair struct {
	server, client string // their configs
	control, game  int    // ports
}

// copy takes the configs of all engines, for an address of their own.
func (w *world) copy(b *testing.B) handmade {
	b.Helper()
	e := handmade{engine: w.engine, address: testkit.Address(b).String()}
	dir := testkit.StateDir(b)
	instances, err := w.manager.List(b.Context(), "", "")
	if err != nil {
		b.Fatal(err)
	}
	take := func(state, units, id, half string) (copied string) {
		text, err := os.ReadFile(filepath.Join(state, units, id, "conf", half+".toml"))
		if err != nil {
			b.Fatal(err)
		}
		copied = filepath.Join(dir, id, half, half+".toml")
		if err := os.MkdirAll(filepath.Dir(copied), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(copied, []byte(strings.ReplaceAll(string(text), w.address, e.address)), 0o644); err != nil {
			b.Fatal(err)
		}
		return copied
	}
	for _, i := range instances {
		e.pairs = append(e.pairs, pair{
			server: take(w.state, "instances", i.ServerID, "server"), client: take(w.clients[i.AgentURL], "clients", i.ServerID, "client"),
			control: i.RatholePort, game: i.GamePort,
		})
	}
	return e
}

// start starts all engines, a number of pairs at once, and tells how long it took until every game could be joined.
func (e handmade) start(b *testing.B, atOnce int) time.Duration {
	b.Helper()
	var started []*exec.Cmd
	var mu sync.Mutex
	run := func(i int, flag, config string) error {
		cmd := exec.Command(e.engine, flag, config)
		if os.Geteuid() == 0 { // a user has few inotify instances
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(300000 + i), Gid: uint32(300000 + i)}}
		}
		mu.Lock()
		defer mu.Unlock()
		started = append(started, cmd)
		return cmd.Start()
	}
	begin := time.Now()
	var starting sync.WaitGroup
	for first := range atOnce {
		starting.Go(func() {
			for i := first; i < len(e.pairs); i += atOnce {
				p := e.pairs[i]
				err := run(i, "-s", p.server)
				if err == nil {
					err = e.listens(p.control)
				}
				if err == nil {
					err = run(i, "-c", p.client)
				}
				if err == nil {
					err = e.listens(p.game)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	starting.Wait()
	took := time.Since(begin)
	for _, cmd := range started {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
	if b.Failed() {
		b.FailNow()
	}
	return took
}

// listens waits until a port accepts connections.
func (e handmade) listens(port int) error {
	address := net.JoinHostPort(e.address, strconv.Itoa(port))
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(200 * time.Microsecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(until) {
			return err
		}
	}
}
