package worlds_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/agent"
	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/flow"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

const (
	victim    = "one"
	bystander = "other"

	// told is how soon the status must tell what is wrong on one machine, toldCut how soon it must tell of a silent network,
	// back how soon a tunnel must be well again once the cause is gone.
	told    = 5 * time.Second
	toldCut = 20 * time.Second
	back    = 10 * time.Second
)

// world is a manager and an agent with two tunnels: one to be broken, and a bystander with players.
type world struct {
	*testing.T
	manager *testkit.Manager
	agent   *testkit.Agent
	host    netip.Addr
	game    *flow.Game
	spec    api.InstanceSpec // of the victim
	players *flow.Checker    // of the bystander
	pids    map[string]int   // of its engines
	lasting bool             // engines go on when a service ends
	adjust  func(*agent.Config)
}

// newWorld makes a world in which all is well. adjust, if not nil, has the last word on the agent's config.
func newWorld(t *testing.T, lasting bool, adjust func(*agent.Config)) *world {
	t.Helper()
	if adjust == nil {
		adjust = func(*agent.Config) {}
	}
	w := &world{T: t, lasting: lasting, host: testkit.Address(t), pids: map[string]int{}, adjust: adjust}
	if lasting {
		t.Cleanup(w.endEngines) // after the services have ended
	}
	w.startManager(testkit.StateDir(t), testkit.Address(t), !lasting)
	w.startAgent(testkit.StateDir(t), !lasting)
	w.startGame()
	mustStartGame(t, w.host, otherPort)
	w.spec = api.InstanceSpec{HostIP: w.host.String(), Services: map[string]api.ServiceSpec{"game": service(gamePort, api.TCP, api.UDP)}}
	mustConnect(t, w.manager, w.agent, victim, w.spec)
	other := w.spec
	other.Services = map[string]api.ServiceSpec{"game": service(otherPort, api.TCP, api.UDP)}
	mustConnect(t, w.manager, w.agent, bystander, other)
	w.players = flow.Start(t.Context(), flow.Config{Targets: []string{address(w.manager.Bind, otherPort)}, TCP: 1, UDP: 1})
	for _, half := range []string{"manager", "agent"} {
		w.pids[half] = w.pid(half, bystander)
	}
	return w
}

func (w *world) startManager(state string, bind netip.Addr, stop bool) {
	w.Helper()
	w.manager = testkit.StartManager(w.T, func(c *manager.Config) { c.State, c.Bind, c.StopOnExit = state, bind, stop })
}

func (w *world) startAgent(state string, stop bool) {
	w.Helper()
	w.agent = testkit.StartAgent(w.T, func(c *agent.Config) {
		c.State, c.StopOnExit = state, stop
		w.adjust(c)
	})
}

func (w *world) startGame() { w.game = mustStartGame(w.T, w.host, gamePort) }

// endEngines ends what a world that failed has left running.
func (w *world) endEngines() {
	entries, err := os.ReadDir("/proc")
	if err != nil || !w.Failed() {
		return
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		text, bad := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || bad != nil {
			continue
		}
		for _, s := range []*testkit.Running{w.manager.Running, w.agent.Running} {
			if strings.Contains(string(text), s.State+"/") {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

// see is what a half says of a unit.
func (w *world) see(half, id string) (api.Status, []api.Condition, error) {
	if half == "manager" {
		i, err := w.manager.Get(w.Context(), id)
		return i.Status, i.Conditions, err
	}
	c, err := w.agent.Get(w.Context(), id)
	return c.Status, c.Conditions, err
}

// sees checks what a half says of the victim.
func (w *world) sees(e expected) error {
	status, conditions, err := w.see(e.half, victim)
	if err != nil {
		return err
	}
	for _, c := range conditions {
		if c.Type == e.condition && c.Reason == e.reason && status == e.status {
			return nil
		}
	}
	return fmt.Errorf("the %s says %s, %+v, want %+v", e.half, status, conditions, e)
}

// pid is the process of a unit's engine.
func (w *world) pid(half, id string) int {
	w.Helper()
	_, conditions, err := w.see(half, id)
	if err != nil {
		w.Fatal(err)
	}
	for _, c := range conditions {
		if found := regexp.MustCompile(`process (\d+)`).FindStringSubmatch(c.Message); c.Type == api.ProcessRunning && found != nil {
			pid, err := strconv.Atoi(found[1])
			if err != nil {
				w.Fatal(err)
			}
			return pid
		}
	}
	w.Fatalf("%s runs no engine for %s: %+v", half, id, conditions)
	return 0
}

// signal signals the victim's engine of a half.
func (w *world) signal(half string, s syscall.Signal) (pid int) {
	w.Helper()
	pid = w.pid(half, victim)
	if err := syscall.Kill(pid, s); err != nil {
		w.Fatal(err)
	}
	return pid
}

// configure hands the victim's newest config to the agent; change, if not nil, has the last word on it.
func (w *world) configure(change func(string) string) {
	w.Helper()
	cfg, err := w.manager.ClientConfig(w.Context(), victim, "")
	if err != nil {
		w.Fatal(err)
	}
	if change != nil {
		cfg.Config = change(cfg.Config)
	}
	if _, err := w.agent.Configure(w.Context(), victim, cfg.Config, true); err != nil {
		w.Fatal(err)
	}
}

// mustComeBack wants both halves well and players served.
func (w *world) mustComeBack(within time.Duration) {
	w.Helper()
	wait.Eventually(w.T, within, func() error {
		for _, half := range []string{"manager", "agent"} {
			status, conditions, err := w.see(half, victim)
			if err != nil {
				return err
			}
			if status != api.StatusHealthy {
				return fmt.Errorf("the %s says %s: %+v", half, status, conditions)
			}
		}
		return plays(address(w.manager.Bind, gamePort))
	})
}

// mustBeUntouched wants the bystander's engines to be the same, and its players not to have noticed anything.
func (w *world) mustBeUntouched() {
	w.Helper()
	for half, pid := range w.pids {
		if now := w.pid(half, bystander); now != pid {
			w.Errorf("the %s has replaced the bystander's engine %d by %d", half, pid, now)
		}
	}
	if report := w.players.Stop(); !report.Clean() || report.Sent == 0 {
		w.Errorf("the bystander's players noticed: %s", report)
	}
}

// plays is nil if a new player of either protocol is served.
func plays(target string) error {
	return errors.Join(playsOver("tcp", target), playsOver("udp", target))
}

func playsOver(network, target string) error {
	conn, err := net.DialTimeout(network, target, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("hello\n")); err != nil {
		return err
	}
	if _, err := bufio.NewReader(conn).ReadByte(); err != nil {
		return fmt.Errorf("a player over %s: %w", network, err)
	}
	return nil
}
