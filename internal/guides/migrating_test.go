package guides_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

func migrating(t *testing.T, bin, page string) {
	games := map[string]struct {
		port      int
		protocols []api.Protocol
	}{
		"factorio": {34197, []api.Protocol{api.UDP}}, "minecraft": {25565, []api.Protocol{api.TCP}}, "satisfactory": {7777, []api.Protocol{api.TCP, api.UDP}},
	}
	g := newGuide(t, bin, page, []int{7777, 25565, 34197})
	g.also = []string{"0.0.0.0", g.vps.String()}
	reachOld := func(t *testing.T, name string) {
		t.Helper()
		testkit.MustReach(t, fmt.Sprintf("%s:%d", g.vps, games[name].port), gameName, games[name].protocols...)
	}
	var stop []func()
	players := map[string]*game.Player{}
	g.events["the shared pair runs, with players on it"] = func(t *testing.T) {
		for _, half := range []string{"server", "client"} {
			stop = append(stop, g.engine(t, half))
		}
		for name, one := range games {
			wait.Eventually(t, 10*time.Second, func() error {
				for _, protocol := range one.protocols {
					got, err := game.Ask(t.Context(), protocol, fmt.Sprintf("%s:%d", g.vps, one.port), "status")
					if err != nil || got != gameName {
						return fmt.Errorf("%s: %q %w", name, got, err)
					}
				}
				return nil
			})
			p, err := game.Join(t.Context(), one.protocols[0], fmt.Sprintf("%s:%d", g.vps, one.port))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Leave() })
			players[name] = p
		}
	}
	mustStay := func(t *testing.T) {
		t.Helper()
		for name, p := range players {
			if got, err := p.Ask("still there?"); err != nil || got != "still there?" {
				t.Errorf("the player on %s was dropped: %q %v", name, got, err)
			}
		}
	}
	g.events["every game is reached both ways"] = func(t *testing.T) {
		mustStay(t)
		for name, one := range games {
			reachOld(t, name)
			inst, err := g.mgr.Get(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range inst.Services {
				testkit.MustReach(t, fmt.Sprintf("%s:%d", g.vps, s.PublicPort), gameName, one.protocols...)
			}
		}
	}
	g.events["the shared server has let two ports go"] = func(t *testing.T) {
		wait.Eventually(t, 10*time.Second, func() error {
			return errors.Join(sockets.Bindable(api.TCP, netip.AddrPortFrom(g.vps, 25565)), sockets.Bindable(api.UDP, netip.AddrPortFrom(g.vps, 34197)))
		})
		if _, err := players["factorio"].Ask("still there?"); err == nil {
			t.Error("the page says that players over UDP are cut off")
		}
		delete(players, "factorio")
		mustStay(t)
	}
	g.events["the two are reached at their old ports, the players of the third are still there"] = func(t *testing.T) {
		reachOld(t, "factorio")
		reachOld(t, "minecraft")
		mustStay(t)
	}
	g.events["the shared pair is stopped"] = func(*testing.T) {
		for _, s := range stop {
			s()
		}
	}
	g.events["every game is reached at its old port"] = func(t *testing.T) {
		for name := range games {
			reachOld(t, name)
		}
	}
	g.follow(t)
	g.mustDestroy(t)
}

// engine runs rathole by hand, as one half of the shared pair, until the returned function stops it.
func (g *guide) engine(t *testing.T, half string) (stop func()) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), half+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(testkit.Rathole(t), "--"+half, filepath.Join(g.cli.Dir, half+".toml"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := errors.Join(cmd.Process.Kill(), log.Close()); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
	}
	t.Cleanup(stop)
	return stop
}
