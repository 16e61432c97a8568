package worlds_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// expected is what one half must say of the victim.
type expected struct {
	half              string
	status            api.Status
	condition, reason string
}

// TestBrokenWorlds breaks one thing at a time on one machine: the status must name it soon, the tunnel must come back by itself
// once the cause is gone, and a tunnel beside it must not notice.
func TestBrokenWorlds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		// breaks breaks the world, and returns what takes the cause away; nil if the cause is over at once.
		breaks  func(w *world) (mend func())
		want    []expected
		lasting bool          // engines go on when a service ends
		told    time.Duration // 0: told
		back    time.Duration // 0: back
	}{
		"client killed": {
			breaks: func(w *world) func() { w.signal("agent", syscall.SIGKILL); return nil },
			want: []expected{
				{"agent", api.StatusDown, api.ProcessRunning, "exited"},
				{"manager", api.StatusDown, api.ClientConnected, "client_lost"},
			},
		},
		"client stopped": {
			breaks: func(w *world) func() {
				pid := w.signal("agent", syscall.SIGSTOP)
				return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
			},
			want: []expected{{"agent", api.StatusDown, api.ProcessRunning, "stopped"}},
		},
		"client frozen for good": {
			breaks: func(w *world) func() { w.signal("agent", syscall.SIGSTOP); return nil },
			want:   []expected{{"agent", api.StatusDown, api.ProcessRunning, "stopped"}},
			back:   25 * time.Second, // it is given 10 s, and looked for each 5 s
		},
		"server killed": {
			breaks: func(w *world) func() { w.signal("manager", syscall.SIGKILL); return nil },
			want:   []expected{{"manager", api.StatusDown, api.ProcessRunning, "exited"}},
		},
		"server stopped": {
			breaks: func(w *world) func() {
				pid := w.signal("manager", syscall.SIGSTOP)
				return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
			},
			want: []expected{{"manager", api.StatusDown, api.ProcessRunning, "stopped"}},
		},
		"server frozen for good": {
			breaks: func(w *world) func() { w.signal("manager", syscall.SIGSTOP); return nil },
			want:   []expected{{"manager", api.StatusDown, api.ProcessRunning, "stopped"}},
			back:   25 * time.Second,
		},
		"old config after a rotation": {
			breaks: func(w *world) func() {
				if _, err := w.manager.Rotate(w.Context(), victim, ""); err != nil {
					w.Fatal(err)
				}
				return func() { w.configure(nil) }
			},
			want: []expected{
				{"agent", api.StatusDown, api.Connected, "wrong_token"},
				{"manager", api.StatusDown, api.ClientConnected, "client_lost"},
			},
		},
		"wrong token": {
			breaks: func(w *world) func() {
				w.configure(func(text string) string { return strings.ReplaceAll(text, `token = "`, `token = "x`) })
				return func() { w.configure(nil) }
			},
			want: []expected{
				{"agent", api.StatusDown, api.Connected, "wrong_token"},
				{"manager", api.StatusDown, api.ClientConnected, "client_lost"},
			},
		},
		"service unknown to the server": {
			breaks: func(w *world) func() {
				w.configure(func(text string) string { return strings.ReplaceAll(text, "services.game_", "services.lost_") })
				return func() { w.configure(nil) }
			},
			want: []expected{{"agent", api.StatusDown, api.Connected, "unknown_service"}},
		},
		"client without one of the services": {
			breaks: func(w *world) func() {
				w.configure(func(text string) string {
					before, _, _ := strings.Cut(text, "[client.services.game_udp]")
					return before
				})
				return func() { w.configure(nil) }
			},
			want: []expected{{"manager", api.StatusDown, api.ClientConnected, "partly_connected"}},
		},
		"client of another control port": {
			breaks: func(w *world) func() {
				i, err := w.manager.Get(w.Context(), victim)
				if err != nil {
					w.Fatal(err)
				}
				w.configure(func(text string) string { return strings.Replace(text, fmt.Sprintf(":%d\"", i.RatholePort), ":9\"", 1) })
				return func() { w.configure(nil) }
			},
			want: []expected{{"agent", api.StatusDown, api.Connected, "not_connected"}},
		},
		"game not running": {
			breaks: func(w *world) func() { w.game.Stop(); return w.startGame },
			want:   []expected{{"agent", api.StatusDegraded, api.LocalReachable, "nothing_listens"}, {"manager", api.StatusHealthy, api.ClientConnected, "connected"}},
		},
		"public port taken before the client comes": {
			breaks: func(w *world) func() {
				mustStopClient(w)
				if _, err := w.manager.Restart(w.Context(), victim); err != nil { // or it keeps its TCP port
					w.Fatal(err)
				}
				thief := mustListen(w, address(w.manager.Bind, gamePort))
				w.configure(nil)
				return func() { _ = thief.Close() }
			},
			want: []expected{{"manager", api.StatusDegraded, api.PortsListening, "port_stolen"}},
		},
		"public port taken while the client is away": {
			breaks: func(w *world) func() {
				mustStopClient(w)
				var thief net.PacketConn
				wait.Eventually(w.T, told, func() (err error) {
					thief, err = net.ListenPacket("udp", address(w.manager.Bind, gamePort))
					return err
				})
				w.configure(nil)
				return func() { _ = thief.Close() }
			},
			want: []expected{{"manager", api.StatusDegraded, api.PortsListening, "port_stolen"}},
		},
		"control port taken while the server is down": {
			breaks: func(w *world) func() {
				i, err := w.manager.Get(w.Context(), victim)
				if err != nil {
					w.Fatal(err)
				}
				w.signal("manager", syscall.SIGKILL)
				var thief net.Listener
				wait.Eventually(w.T, told, func() (err error) {
					thief, err = net.Listen("tcp", address(w.manager.Bind, i.RatholePort))
					return err
				})
				return func() { _ = thief.Close() }
			},
			want: []expected{{"manager", api.StatusDown, api.ProcessRunning, "control_port_in_use"}},
		},
		"agent down": {
			lasting: true,
			breaks: func(w *world) func() {
				state := w.agent.State
				w.agent.Shutdown(w.T)
				return func() { w.startAgent(state, true) }
			},
			want: []expected{{"manager", api.StatusHealthy, api.ClientConnected, "connected"}},
		},
		"manager down": {
			lasting: true,
			breaks: func(w *world) func() {
				state, bind := w.manager.State, w.manager.Bind
				w.manager.Shutdown(w.T)
				return func() { w.startManager(state, bind, true) }
			},
			want: []expected{{"agent", api.StatusHealthy, api.Connected, "connected"}},
		},
		"two agents with one config": {
			breaks: func(w *world) func() {
				second := testkit.StartAgent(w.T, nil)
				mustConfigure(w.T, w.manager, second, victim)
				return func() {
					if _, err := second.Stop(w.Context(), victim); err != nil {
						w.Error(err)
					}
				}
			},
			want: []expected{{"manager", api.StatusDegraded, api.ClientConnected, "two_clients"}},
			told: 20 * time.Second, // five times make a fight
			back: 15 * time.Second, // and eight seconds of peace its end
		},
		"disabled": {
			breaks: func(w *world) func() {
				w.enable(false)
				return func() { w.enable(true) }
			},
			want: []expected{
				{"manager", api.StatusDisabled, api.ProcessRunning, "disabled"},
				{"agent", api.StatusDown, api.Connected, "not_connected"},
			},
		},
		"client gone": {
			breaks: func(w *world) func() { mustStopClient(w); return func() { w.configure(nil) } },
			want:   []expected{{"manager", api.StatusDown, api.ClientConnected, "client_lost"}},
		},
		"never a client": {
			breaks: func(w *world) func() {
				mustStopClient(w)
				if err := w.manager.Delete(w.Context(), victim); err != nil {
					w.Fatal(err)
				}
				if _, _, err := w.manager.Create(w.Context(), api.CreateInstance{ServerID: victim, InstanceSpec: w.spec}, client.CreateOptions{}); err != nil {
					w.Fatal(err)
				}
				return func() { w.configure(nil) }
			},
			want: []expected{{"manager", api.StatusInactive, api.ClientConnected, "never_connected"}},
		},
		"silent stranger on the control port": {
			breaks: func(w *world) func() {
				i, err := w.manager.Get(w.Context(), victim)
				if err != nil {
					w.Fatal(err)
				}
				var strangers []net.Conn
				for range 3 {
					conn, err := net.Dial("tcp", address(w.manager.Bind, i.RatholePort))
					if err != nil {
						w.Fatal(err)
					}
					strangers = append(strangers, conn)
				}
				mustStopClient(w)
				return func() {
					w.configure(nil)
					w.mustComeBack(back) // with the strangers still there
					for _, conn := range strangers {
						_ = conn.Close()
					}
				}
			},
			want: []expected{{"manager", api.StatusDown, api.ClientConnected, "client_lost"}},
		},
		"stale listener": {
			breaks: func(w *world) func() {
				mustStopClient(w)
				// Not by playing: the second or third player would make rathole close the port itself.
				wait.Eventually(w.T, 45*time.Second, func() error {
					if got := w.healed(w.manager); !slices.Equal(got, []string{"stale_listener"}) {
						return fmt.Errorf("healed: %v", got)
					}
					return nil
				})
				wait.Eventually(w.T, told, func() error {
					conn, err := net.Dial("tcp", address(w.manager.Bind, gamePort))
					if err == nil {
						_ = conn.Close()
						return errors.New("a player is still accepted")
					}
					return nil
				})
				return func() { w.configure(nil) }
			},
			want: []expected{{"manager", api.StatusDown, api.ClientConnected, "client_lost"}},
		},
		"record torn": {
			lasting: true,
			breaks: func(w *world) func() {
				state, bind := w.manager.State, w.manager.Bind
				path := filepath.Join(state, "instances", victim, "record.json")
				whole, err := os.ReadFile(path)
				if err != nil {
					w.Fatal(err)
				}
				w.manager.Shutdown(w.T)
				if err := os.WriteFile(path, whole[:len(whole)/2], 0o600); err != nil {
					w.Fatal(err)
				}
				w.startManager(state, bind, false)
				found, err := w.manager.Reconciliation(w.Context())
				if err != nil || len(found.Quarantined) != 1 || found.Quarantined[0].ServerID != victim {
					w.Errorf("%v %+v", err, found)
				}
				if err := plays(address(bind, gamePort)); err != nil { // its engine goes on
					w.Error(err)
				}
				return func() {
					w.manager.Shutdown(w.T)
					if err := os.WriteFile(path, whole, 0o600); err != nil {
						w.Fatal(err)
					}
					w.startManager(state, bind, true)
				}
			},
			want: []expected{{"agent", api.StatusHealthy, api.Connected, "connected"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.lasting, nil)
			mend := c.breaks(w)
			broken := time.Now()
			for _, e := range c.want {
				wait.Eventually(t, max(c.told, told), func() error { return w.sees(e) })
			}
			t.Logf("told after %s", time.Since(broken).Round(time.Millisecond))
			if mend != nil {
				mend()
			}
			mended := time.Now()
			w.mustComeBack(max(c.back, back))
			t.Logf("back after %s", time.Since(mended).Round(time.Millisecond))
			w.mustBeUntouched()
			if c.lasting {
				w.letGo()
			}
		})
	}
}

func mustStopClient(w *world) {
	w.Helper()
	if _, err := w.agent.Stop(w.Context(), victim); err != nil {
		w.Fatal(err)
	}
}

func mustListen(w *world, addr string) net.Listener {
	w.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		w.Fatal(err)
	}
	return ln
}

// enable turns the victim on or off.
func (w *world) enable(on bool) {
	w.Helper()
	spec := w.spec
	spec.Enabled = &on
	if _, err := w.manager.Update(w.Context(), victim, api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{}); err != nil {
		w.Fatal(err)
	}
}

// eventful is a service that tells events.
type eventful interface {
	Events(ctx context.Context, q client.EventQuery) (api.EventList, error)
}

// healed are the reasons for which a service has mended the victim.
func (w *world) healed(s eventful) []string {
	w.Helper()
	list, err := s.Events(w.Context(), client.EventQuery{ServerID: victim, Types: []api.EventType{api.EventHealing}})
	if err != nil {
		w.Fatal(err)
	}
	var reasons []string
	for _, e := range list.Events {
		reasons = append(reasons, e.Reason)
	}
	return reasons
}

// letGo makes the services of a lasting world take their engines with them.
func (w *world) letGo() {
	w.Helper()
	state, bind := w.manager.State, w.manager.Bind
	w.manager.Shutdown(w.T)
	w.startManager(state, bind, true)
	state = w.agent.State
	w.agent.Shutdown(w.T)
	w.startAgent(state, true)
}
