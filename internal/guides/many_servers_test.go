package guides_test

import (
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
)

func manyServers(t *testing.T, bin, page string) {
	g := newGuide(t, bin, page, []int{2456, 2457, 7777, 19132, 25565, 34197})
	far := testkit.StartManager(t, nil)
	g.also = []string{"https://vps-2.example.org:7001", far.URL}
	players := map[string]*game.Player{}
	mustStay := func(t *testing.T) {
		t.Helper()
		for name, p := range players {
			if got, err := p.Ask("still there?"); err != nil || got != "still there?" {
				t.Errorf("the player on %s was dropped: %q %v", name, got, err)
			}
		}
	}
	g.events["players are on factorio and minecraft"] = func(t *testing.T) {
		for name, protocol := range map[string]api.Protocol{"factorio": api.UDP, "minecraft": api.TCP} {
			players[name] = g.mustJoin(t, name, protocol)
		}
	}
	g.events["the players are still there"] = mustStay
	g.events["terraria is on host-2, the players are still there"] = func(t *testing.T) {
		if c, err := g.agents[1].Get(t.Context(), "terraria"); err != nil || c.Status != api.StatusHealthy {
			t.Errorf("%+v %v", c, err)
		}
		if _, err := g.agents[0].Get(t.Context(), "terraria"); err == nil {
			t.Error("host-1 still has it")
		}
		testkit.MustReach(t, g.address(t, "terraria"), gameName, api.TCP)
		mustStay(t)
	}
	g.events["the second VPS has one instance, the players are still there"] = func(t *testing.T) {
		if all, err := far.List(t.Context(), "", ""); err != nil || len(all) != 1 || all[0].Status != api.StatusHealthy {
			t.Errorf("%+v %v", all, err)
		}
		mustStay(t)
	}
	g.follow(t)
	g.mustDestroy(t)
}
