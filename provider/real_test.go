package provider

import (
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
)

// TestStoriesReal runs the stories of the fake against the real manager, agent and engine: what holds the fake to the truth.
func TestStoriesReal(t *testing.T) {
	t.Parallel()
	stories(t, func(t *testing.T) backend {
		t.Helper()
		m, a := testkit.StartManager(t, nil), testkit.StartAgent(t, nil)
		return backend{ManagerURL: m.URL, AgentURL: a.URL, Token: secret.New(testkit.Token), Ports: []int{30000, 30001, 30002, 30003}}
	})
}
