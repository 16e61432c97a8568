package provider

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

const (
	createRoute    = "POST /api/instances"
	getRoute       = "GET /api/instances/{id}"
	updateRoute    = "PUT /api/instances/{id}"
	deleteRoute    = "DELETE /api/instances/{id}"
	configRoute    = "GET /api/instances/{id}/client-config"
	configureRoute = "POST /api/rathole/clients/{id}/configure"
	stopRoute      = "POST /api/rathole/clients/{id}/stop"
	rotateRoute    = "POST /api/instances/{id}/rotate"
	getClientRoute = "GET /api/rathole/clients/{id}"
)

// says matches a message whatever the terminal's width made of its spaces.
func says(parts ...string) *regexp.Regexp {
	for i, p := range parts {
		words := strings.Fields(p)
		for j, w := range words {
			words[j] = regexp.QuoteMeta(w)
		}
		parts[i] = strings.Join(words, `[\s│]+`)
	}
	return regexp.MustCompile("(?s)" + strings.Join(parts, ".*"))
}

// TestFailedCreate: a create that fails says which half and step failed, and leaves neither anything on the services nor a
// tainted object in the state, so that the next apply creates.
func TestFailedCreate(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		harm func(*fake)
		says *regexp.Regexp
	}{
		"agent down": {
			func(f *fake) { f.agent.fail("*", fault{cut: true}) },
			says("Unable to reach agent", "Checking that the agent is ready", "cannot be reached", "Nothing was created on the manager"),
		},
		"agent loading": {
			func(f *fake) { f.agent.fail("GET /ready", fault{status: 503, code: api.CodeNotReady}) },
			says("Unable to reach agent", "not_ready"),
		},
		"no engine on the manager": {
			func(f *fake) { f.manager.fail(createRoute, fault{status: 503, code: api.CodeEngineUnavailable}) },
			says("Unable to create instance", "engine_unavailable"),
		},
		"client-config fails": {
			func(f *fake) { f.manager.fail(configRoute, fault{status: 500, code: api.CodeInternal}) },
			says("Unable to configure client", "Reading the client's config", "nothing is left behind"),
		},
		"configure refused": {
			func(f *fake) { f.agent.fail(configureRoute, fault{status: 422, code: api.CodeTargetNotAllowed}) },
			says("Unable to configure client", "Configuring the client", "target_not_allowed", "nothing is left behind"),
		},
		"client belongs to another manager": {
			func(f *fake) { f.agent.fail(configureRoute, fault{status: 409, code: api.CodeClientExists}) },
			says("Unable to configure client", "for another manager"),
		},
		"configure loses its answers": {
			func(f *fake) { f.agent.fail(configureRoute, fault{lost: true}) },
			says("Unable to configure client", "nothing is left behind"),
		},
		"configure hangs": {
			func(f *fake) { f.agent.fail(configureRoute, fault{hang: true}) },
			says("Unable to configure client", "nothing is left behind"),
		},
		"tunnel never up": {
			func(f *fake) { f.deaf = true },
			says("Unable to connect instance", "server half on", "ClientConnected is False (never_connected)", "no client has connected yet",
				"last said: ERROR the last line", "client half on", "is the firewall open?", "last said: ERROR the last line", "nothing is left behind"),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			b := f.backend()
			tt.harm(f)
			b.run(t,
				resource.TestStep{Config: b.config("srv", b.game()+hasty), ExpectError: tt.says},
				resource.TestStep{
					PreConfig: func() {
						f.manager.mend()
						f.agent.mend()
						f.deaf = false
						b.mustHave(t, 0, 0)
					},
					Config:            b.config("srv", b.game()+hasty),
					ConfigPlanChecks:  planned(plancheck.ResourceActionCreate),
					ConfigStateChecks: []statecheck.StateCheck{expect("status", knownvalue.StringExact("healthy")), inSync()},
				},
			)
		})
	}
}

// TestFailedUndo: where undoing fails as well, the state is kept so that a destroy can finish it.
func TestFailedUndo(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	f.agent.fail(configureRoute, fault{lost: true})
	f.agent.fail(stopRoute, fault{cut: true})
	f.manager.fail(deleteRoute, fault{status: 500, code: api.CodeInternal})
	b.run(t,
		resource.TestStep{
			Config: b.config("srv", b.game()+hasty),
			ExpectError: says("Unable to configure client", "Undoing what this apply had created failed as well", "server half on", "may still exist",
				"client half on", "may still exist", "apply again"),
		},
		resource.TestStep{
			PreConfig: func() {
				b.mustHave(t, 1, 1)
				f.agent.mend()
				f.manager.mend()
			},
			Config:            b.config("srv", b.game()+hasty),
			ConfigPlanChecks:  planned(plancheck.ResourceActionReplace),
			ConfigStateChecks: []statecheck.StateCheck{expect("status", knownvalue.StringExact("healthy")), inSync()},
		},
	)
}

// TestUndoSparesWhatWasThere: what this call did not create is not undone.
func TestUndoSparesWhatWasThere(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	b.mustCreate(t, "srv", api.InstanceSpec{GamePort: b.Ports[0], AgentURL: b.AgentURL})
	f.agent.fail(configureRoute, fault{status: 422, code: api.CodeInvalidConfig})
	b.run(t,
		resource.TestStep{
			Config:      b.config("srv", b.game()+hasty),
			ExpectError: says("Unable to configure client", "existed before, so it was left as it is"),
		},
		resource.TestStep{
			PreConfig: func() { b.mustHave(t, 1, 0); f.agent.mend() },
			Config:    b.config("srv", b.game()+hasty), ConfigPlanChecks: planned(plancheck.ResourceActionCreate),
		},
	)
}

// TestLostAnswers: a call whose answer is lost is repeated under the same key, and does nothing twice.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	f.manager.fail(createRoute, fault{lost: true, times: 1})
	f.agent.fail(configureRoute, fault{lost: true, times: 1})
	b.run(t,
		resource.TestStep{
			Config:            b.config("srv", b.game()),
			ConfigStateChecks: []statecheck.StateCheck{expect("status", knownvalue.StringExact("healthy")), inSync()},
			Check: func(*terraform.State) error {
				if posts := f.manager.seen(createRoute); posts != 2 {
					return fmt.Errorf("%d POSTs reached the manager, want 2: one lost, one repeated", posts)
				}
				return b.has(t, 1, 1)
			},
		},
		resource.TestStep{
			PreConfig: func() {
				f.manager.fail(updateRoute, fault{lost: true, times: 1})
				f.manager.fail(deleteRoute, fault{lost: true, times: 1})
				f.agent.fail(stopRoute, fault{lost: true, times: 1})
			},
			Config:            b.config("srv", fmt.Sprintf("game_port = %d\n", b.Ports[1])),
			ConfigStateChecks: []statecheck.StateCheck{inSync()},
		},
	)
}

// TestManagerUnreachable: a refresh that cannot ask the manager fails and keeps the state; so does one that meets a
// stranger's 404.
func TestManagerUnreachable(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	step := resource.TestStep{Config: b.config("srv", b.game()), ConfigPlanChecks: planned(plancheck.ResourceActionNoop)}
	first := step
	first.ConfigPlanChecks = planned(plancheck.ResourceActionCreate)
	mended := step
	mended.PreConfig = f.manager.mend
	b.run(t, first,
		resource.TestStep{
			PreConfig: func() { f.manager.fail(getRoute, fault{cut: true}) },
			Config:    step.Config, ExpectError: says("Unable to read instance", "Manager http", "cannot be reached"),
		},
		mended,
		resource.TestStep{
			PreConfig: func() { f.manager.fail(getRoute, fault{status: 404, code: api.CodeNoSuchRoute}) },
			Config:    step.Config, ExpectError: says("Unable to read instance", "no_such_route"),
		},
		mended,
		resource.TestStep{
			PreConfig: func() { f.manager.fail(getRoute, fault{status: 404}) },
			Config:    step.Config, ExpectError: says("Unable to read instance", "answered 404"),
		},
		mended,
	)
}

// TestAgentUnreachable: a refresh goes on without the agent; a destroy does so only if forced.
func TestAgentUnreachable(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	forced := b.config("srv", b.game()+hasty+"force_destroy = true\n")
	b.run(t,
		resource.TestStep{Config: b.config("srv", b.game()+hasty)},
		resource.TestStep{
			PreConfig:         func() { f.agent.fail("*", fault{cut: true}) },
			Config:            b.config("srv", b.game()+hasty),
			ConfigPlanChecks:  planned(plancheck.ResourceActionNoop),
			ConfigStateChecks: []statecheck.StateCheck{expect("client_config_sha256", knownvalue.NotNull()), inSync()},
		},
		resource.TestStep{
			Config: b.config("srv", b.game()+hasty), Destroy: true,
			ExpectError: says("Unable to stop client", "cannot be reached", "force_destroy = true"),
		},
		resource.TestStep{PreConfig: func() { f.agent.mend(); b.mustHave(t, 1, 1); f.agent.fail("*", fault{cut: true}) }, Config: forced},
		resource.TestStep{Config: forced, Destroy: true},
		resource.TestStep{
			PreConfig: func() { f.agent.mend(); b.mustHave(t, 0, 1); b.mustStop(t, "srv") },
			Config:    b.provider(),
		},
	)
}

// TestFailedUpdate: what a failed update did is in the state, the next plan repairs it in place, and nothing is tainted.
func TestFailedUpdate(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	moved := b.config("srv", fmt.Sprintf("game_port = %d\n", b.Ports[1])+hasty)
	b.run(t,
		resource.TestStep{Config: b.config("srv", b.game()+hasty)},
		resource.TestStep{
			PreConfig: func() { f.agent.fail("*", fault{cut: true}) },
			Config:    moved, ExpectError: says("Unable to reach agent", "Nothing was changed"),
		},
		resource.TestStep{
			PreConfig: func() {
				if puts := f.manager.seen(updateRoute); puts != 0 {
					t.Errorf("the server was changed %d times under an unreachable client", puts)
				}
				f.agent.mend()
				f.agent.fail(configureRoute, fault{status: 422, code: api.CodeInvalidConfig})
			},
			Config: moved, ExpectError: says("Unable to configure client", "invalid_config"),
		},
		resource.TestStep{
			PreConfig:         f.agent.mend,
			Config:            moved,
			ConfigPlanChecks:  planned(plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{expect("status", knownvalue.StringExact("healthy")), inSync()},
		},
	)
}

// TestMovedAgent: the client leaves its old agent before it starts on the new one; a dead old agent does not hold it.
func TestMovedAgent(t *testing.T) {
	t.Parallel()
	for name, dead := range map[string]bool{"old agent answers": false, "old agent dead": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			b := f.backend()
			at := func(url string) string {
				return b.provider() + b.bare("test", "srv", b.game()+hasty+fmt.Sprintf("agent_url = %q\n", url))
			}
			b.run(t,
				resource.TestStep{Config: at(b.AgentURL)},
				resource.TestStep{
					PreConfig: func() {
						if dead {
							f.agent.fail("*", fault{cut: true})
						}
					},
					Config:            at(f.second.URL),
					ConfigPlanChecks:  planned(plancheck.ResourceActionUpdate),
					ConfigStateChecks: []statecheck.StateCheck{expect("status", knownvalue.StringExact("healthy")), inSync()},
					Check: func(*terraform.State) error {
						if stops := f.agent.seen(stopRoute); !dead && stops != 1 {
							return fmt.Errorf("%d stops on the old agent, want 1", stops)
						}
						if rotations := f.manager.seen(rotateRoute); dead != (rotations == 1) {
							return fmt.Errorf("%d rotations; a client that could not be stopped, and no other, must be shut out", rotations)
						}
						if n := f.second.seen(configureRoute); n != 1 {
							return fmt.Errorf("configured %d times on the new agent, want 1", n)
						}
						return nil
					},
				},
				resource.TestStep{
					PreConfig: func() {
						f.agent.mend()
						if dead { // as the warning asks
							b.mustHave(t, 1, 1)
							b.mustStop(t, "srv")
						}
					},
					Config: at(f.second.URL), PlanOnly: true,
				},
			)
		})
	}
}

// TestMissingSettings: what is missing is told when it is needed.
func TestMissingSettings(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	body := b.bare("test", "srv", b.game())
	b.run(t,
		resource.TestStep{Config: body, ExpectError: says("provider's manager_url is not set", "RATHOLE_MANAGER_URL")},
		resource.TestStep{Config: fmt.Sprintf("provider \"rathole\" {\n manager_url = %q\n token = \"wrong\"\n}\n", b.ManagerURL) + body, ExpectError: says("unauthorized", "RATHOLE_TOKEN")},
		resource.TestStep{Config: "provider \"rathole\" {\n manager_url = \"http://u:p@host\"\n}\n" + body, ExpectError: says("must not hold a user or password")},
	)
}

// TestInvalidConfigurations are refused before anything is asked.
func TestInvalidConfigurations(t *testing.T) {
	t.Parallel()
	b := newFake(t).backend()
	service := func(name, body string) string { return fmt.Sprintf("services = { %s = { %s } }\n", name, body) }
	for name, tt := range map[string]struct {
		body string
		says *regexp.Regexp
	}{
		"neither":            {"", says("Exactly one of these attributes must be configured")},
		"both":               {b.game() + service("q", "protocols = [\"udp\"], local_port = 1"), says("Exactly one of these attributes must be configured")},
		"beacon alone":       {"beacon_port = 1\n" + service("q", "protocols = [\"udp\"], local_port = 1"), says("\"game_port\" must be specified when \"beacon_port\"")},
		"beacon is game":     {"game_port = 5\nbeacon_port = 5\n", says("Port named twice")},
		"port too large":     {"game_port = 65536\n", says("between 1 and 65535")},
		"bad service":        {service("Big_One", "protocols = [\"udp\"], local_port = 1"), says("must be a small letter")},
		"no protocol":        {service("q", "protocols = [], local_port = 1"), says("must contain at least 1 elements")},
		"unknown protocol":   {service("q", "protocols = [\"sctp\"], local_port = 1"), says("value must be one of")},
		"null service":       {"services = { q = null }\n", says("Null Map Value")},
		"null label":         {"game_port = 5\nlabels = { env = null }\n", says("Null Map Value")},
		"no services":        {"services = {}\n", says("at least 1 elements")},
		"bad host":           {"game_port = 5\nhost_ip = \"a:1\"\n", says("neither an IP address nor a host name")},
		"bad agent URL":      {"game_port = 5\nagent_url = \"host:8081\"\n", says("must begin with http:// or https://")},
		"unknown transport":  {"game_port = 5\ntransport = \"tls\"\n", says("value must be one of")},
		"bad timeout":        {"game_port = 5\ntimeouts = { create = \"soon\" }\n", says("must be a string")},
		"public port twice":  {"services = {\n a = { protocols = [\"tcp\", \"udp\"], local_port = 1, public_port = 7 }\n b = { protocols = [\"udp\"], local_port = 2, public_port = 7 }\n}\n", says("Public port 7/udp is also that of service \"a\"")},
		"unknown probe":      {"game_port = 5\nprobe = \"quake\"\n", says("value must be one of")},
		"probe of nothing":   {service("q", "protocols = [\"udp\"], local_port = 1") + "probe = \"a2s\"\n", says("\"game_port\" must be specified when \"probe\"")},
		"probe over UDP":     {service("q", "protocols = [\"tcp\"], local_port = 1, probe = \"a2s\""), says("A probe of kind a2s goes over udp, which service \"q\" does not carry")},
		"probe over TCP":     {service("q", "protocols = [\"udp\"], local_port = 1, probe = \"minecraft\""), says("goes over tcp")},
		"server_id too long": {"game_port = 5\n#", says("up to 63 letters")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := "srv"
			if name == "server_id too long" {
				id = strings.Repeat("x", 65)
			}
			b.run(t, resource.TestStep{Config: b.provider() + b.bare("test", id, tt.body), PlanOnly: true, ExpectError: tt.says})
		})
	}
}
