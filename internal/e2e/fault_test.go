package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// TestAgentDown wants an error that names the agent and the step, and nothing anywhere.
func TestAgentDown(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.write(t, s.instanceOn("http://127.0.0.1:9", "one", "game_port = 30000\n  timeouts  = { create = \"2s\" }"))
	out, code := s.cli.Run(t, "apply", "-auto-approve", "-input=false")
	if code == 0 || !strings.Contains(out, "http://127.0.0.1:9") || !strings.Contains(out, "Unable to reach agent") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	s.mustHaveNoState(t)
	s.mustBeEmpty(t)
}

// TestAgentThatNeverAnswers accepts connections, and is silent from the given call on.
func TestAgentThatNeverAnswers(t *testing.T) {
	t.Parallel()
	for name, silent := range map[string]func(r *http.Request) bool{
		"from the start":     func(*http.Request) bool { return true },
		"when it configures": func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/configure") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			end := make(chan struct{})
			proxy := testkit.Proxy(t, s.agent.URL, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if silent(r) {
					select {
					case <-r.Context().Done():
					case <-end:
					}
					return
				}
				next.ServeHTTP(w, r)
			})
			defer close(end)
			s.write(t, s.instanceOn(proxy, "one", "game_port = 30000\n  timeouts  = { create = \"3s\" }"))
			out, code := s.cli.Run(t, "apply", "-auto-approve", "-input=false")
			if code == 0 || !strings.Contains(out, proxy) {
				t.Errorf("exit code %d\n%s", code, out)
			}
			s.mustHaveNoState(t)
			s.mustBeEmpty(t)
		})
	}
}

func (s *stage) mustHaveNoState(t *testing.T) {
	t.Helper()
	if out := s.cli.MustRun(t, "state", "list"); strings.Contains(out, "rathole_instance") {
		t.Errorf("in the state: %s", out)
	}
}

// calls of a create, as the proxies see them.
const callsOfCreate = 5

// TestProviderKilled kills the provider's process before and after each call of a create; the next apply must converge.
func TestProviderKilled(t *testing.T) {
	t.Parallel()
	for n := range int32(callsOfCreate + 1) {
		for _, when := range []string{"before", "after"} {
			t.Run(fmt.Sprintf("%s call %d", when, n), func(t *testing.T) {
				t.Parallel()
				s := newStage(t)
				var calls, killed atomic.Int32
				hook := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					if r.URL.Query().Get("dry_run") != "" { // the plan's
						next.ServeHTTP(w, r)
						return
					}
					fatal := calls.Add(1)-1 == n && n < callsOfCreate
					if fatal && when == "before" {
						killed.Add(s.cli.KillProvider(t))
						return
					}
					if fatal {
						next.ServeHTTP(httptest.NewRecorder(), r)
						killed.Add(s.cli.KillProvider(t))
						return
					}
					next.ServeHTTP(w, r)
				}
				manager, agent := testkit.Proxy(t, s.manager.URL, hook), testkit.Proxy(t, s.agent.URL, hook)
				s.writeFor(t, manager, s.instanceOn(agent, "one", twoPorts))
				out, code := s.cli.Run(t, "apply", "-auto-approve", "-input=false")
				if n == callsOfCreate { // it is never killed, which shows that no call was left out
					if code != 0 || calls.Load() != callsOfCreate {
						t.Errorf("a create makes %d calls, not %d\n%s", calls.Load(), callsOfCreate, out)
					}
					s.cli.Destroy(t)
					return
				}
				if code == 0 {
					t.Fatalf("the apply succeeds\n%s", out)
				}
				// Terraform may end before who killed its provider has counted.
				wait.Eventually(t, 10*time.Second, func() error {
					if n := killed.Load(); n != 1 {
						return fmt.Errorf("%d providers killed", n)
					}
					return nil
				})
				s.cli.Apply(t)
				testkit.MustReach(t, s.public(30000), "satisfactory", api.TCP, api.UDP)
				s.cli.MustBeUnchanged(t)
				s.cli.Destroy(t)
				s.mustBeEmpty(t)
			})
		}
	}
}
