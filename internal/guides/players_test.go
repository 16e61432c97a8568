package guides_test

import (
	"fmt"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
)

// address is what players dial for the game of an instance.
func (g *guide) address(t *testing.T, id string) string {
	t.Helper()
	inst, err := g.mgr.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s:%d", g.vps, inst.Services["game"].PublicPort)
}

// mustJoin has a player join the game of an instance, and stay.
func (g *guide) mustJoin(t *testing.T, id string, protocol api.Protocol) *game.Player {
	t.Helper()
	p, err := game.Join(t.Context(), protocol, g.address(t, id))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Leave() })
	if got, err := p.Ask("status"); err != nil || got != gameName {
		t.Fatalf("a player of %s hears %q (%v)", id, got, err)
	}
	return p
}

// mustDestroy takes away what a page has made. Nothing may be left.
func (g *guide) mustDestroy(t *testing.T) {
	t.Helper()
	g.typed(t, "at the end", "terraform destroy", true)
	g.mustBeEmpty(t)
}

// mustBeEmpty checks that no service has anything left.
func (g *guide) mustBeEmpty(t *testing.T) {
	t.Helper()
	if all, err := g.mgr.List(t.Context(), "", ""); err != nil || len(all) != 0 {
		t.Errorf("left on the manager: %+v %v", all, err)
	}
	for _, a := range g.agents {
		if all, err := a.List(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("left on an agent: %+v %v", all, err)
		}
	}
}
