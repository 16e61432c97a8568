package testkit

import (
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
)

// StartGame starts a game on an address of its own, on the given ports, for as long as the test runs.
func StartGame(t testing.TB, name string, ports ...int) *game.Server {
	t.Helper()
	s, err := game.Start(name, Address(t), ports...)
	if err != nil {
		t.Fatalf("start the game %s: %v", name, err)
	}
	t.Cleanup(s.Stop)
	return s
}

// MustReach fails the test unless the game called name answers at address over every protocol given.
func MustReach(t testing.TB, address, name string, protocols ...api.Protocol) {
	t.Helper()
	for _, protocol := range protocols {
		got, err := game.Ask(t.Context(), protocol, address, "status")
		if err != nil || got != name {
			t.Fatalf("a player who asks %s/%s gets %q (%v), want the game %q", address, protocol, got, err, name)
		}
	}
}
