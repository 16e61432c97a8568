package manager_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// asked is a service of each kind, on public ports from 30000 on.
func asked(host netip.Addr) api.InstanceSpec {
	udp, tcp := []api.Protocol{api.UDP}, []api.Protocol{api.TCP}
	return api.InstanceSpec{HostIP: host.String(), Services: map[string]api.ServiceSpec{
		"factory": {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: 7777, PublicPort: 30000, Probe: api.ProbeSatisfactory},
		"query":   {Protocols: udp, LocalPort: 27015, PublicPort: 30001, Probe: api.ProbeA2S},
		"java":    {Protocols: tcp, LocalPort: 25565, PublicPort: 30002, Probe: api.ProbeMinecraft},
		"pocket":  {Protocols: udp, LocalPort: 19132, PublicPort: 30003, Probe: api.ProbeBedrock},
		"rcon":    {Protocols: tcp, LocalPort: 27020, PublicPort: 30004},
		"voice":   {Protocols: udp, LocalPort: 9987, PublicPort: 30005},
		"old":     {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: 15000, PublicPort: 30006},
	}}
}

func holdOpen(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// startAsked starts a game for each service of asked; it returns what stops them.
func startAsked(t *testing.T, host netip.Addr) (stop func()) {
	t.Helper()
	all := []*game.Responder{
		testkit.RespondUDP(t, host, 7777, game.Satisfactory),
		testkit.RespondUDP(t, host, 27015, game.A2SChallenged),
		testkit.RespondTCP(t, host, 25565, game.Minecraft),
		testkit.RespondUDP(t, host, 19132, game.Bedrock),
		testkit.RespondTCP(t, host, 27020, holdOpen),
		testkit.RespondTCP(t, host, 15000, holdOpen),
	}
	return func() {
		for _, r := range all {
			r.Stop()
		}
	}
}

// mustProbe probes an instance and checks the reason of each service; empty means that it answers.
func mustProbe(t *testing.T, m *testkit.Manager, id string, reasons map[string]string) api.ProbeReport {
	t.Helper()
	begin := time.Now()
	report, err := m.Probe(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 7*time.Second {
		t.Errorf("the probe took %s", took)
	}
	probed, failed := 0, 0
	for name, reason := range reasons {
		r := report.Services[name]
		if r.OK != (reason == "") || r.Reason != reason || r.OK == (r.RTTMS == 0) || r.OK == (r.Message != "") {
			t.Errorf("service %s: %+v, want the reason %q", name, r, reason)
		}
		if reason != api.ReasonNotProbed {
			probed++
		}
		if reason != "" && reason != api.ReasonNotProbed {
			failed++
		}
	}
	if len(report.Services) != len(reasons) || report.ServerID != id || report.Reachable != (probed > 0 && failed == 0) {
		t.Errorf("%+v", report)
	}
	return report
}

func mustSay(t *testing.T, r api.ProbeResult, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(r.Message, w) {
			t.Errorf("%q does not say %q", r.Message, w)
		}
	}
}

// TestProbe asks games of each kind through a tunnel: as long as they run, after they ended, and after the client ended.
func TestProbe(t *testing.T) {
	t.Parallel()
	m, a := testkit.StartManager(t, nil), testkit.StartAgent(t, nil)
	host := testkit.Address(t)
	mustCreate(t, m, api.CreateInstance{ServerID: "one", InstanceSpec: asked(host)})

	// No client yet: no public port is open.
	closed := map[string]string{"voice": api.ReasonNotProbed}
	for _, name := range []string{"factory", "query", "java", "pocket", "rcon", "old"} {
		closed[name] = api.ReasonPortClosed
	}
	report := mustProbe(t, m, "one", closed)
	mustSay(t, report.Services["factory"], "30000/udp", "no client has connected to control port")
	mustSay(t, report.Services["java"], "30002/tcp", "no client has connected to control port")

	stop := startAsked(t, host)
	connect(t, m, a, "one")
	report = mustProbe(t, m, "one", map[string]string{"factory": "", "query": "", "java": "", "pocket": "", "rcon": "", "old": "", "voice": api.ReasonNotProbed})
	mustSay(t, report.Services["voice"], "name its query protocol")
	for name, want := range map[string]string{"factory": "Satisfactory Server", "query": "/r/DayzUnderground US", "java": "Hello world", "pocket": "Dedicated Server"} {
		if g := report.Services[name].Game; g == nil || g.Name != want {
			t.Errorf("service %s: %+v, want the game %s", name, g, want)
		}
	}
	if err := is(t, m, "one", api.StatusHealthy, api.GameReachable, "answered", "it answered at 20"); err != nil {
		t.Error(err)
	}
	metrics := func(want ...string) {
		t.Helper()
		got := testkit.Curl(t, "GET", m.URL+"/metrics", "", "X-API-Token: "+testkit.Token).Body
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("no %s in the metrics", w)
			}
		}
		if strings.Contains(got, `service="voice"`) {
			t.Error("what was not probed is among the metrics")
		}
	}
	metrics(`rathole_manager_probe_success{server_id="one",service="java"} 1`, `rathole_manager_probe_duration_seconds{server_id="one",service="query"} 0.`)

	stop()
	report = mustProbe(t, m, "one", map[string]string{
		"factory": api.ReasonNoAnswer, "query": api.ReasonNoAnswer, "pocket": api.ReasonNoAnswer,
		"java": api.ReasonClosedAtOnce, "rcon": api.ReasonClosedAtOnce, "old": api.ReasonClosedAtOnce, "voice": api.ReasonNotProbed,
	})
	mustSay(t, report.Services["factory"], "30000/udp is open", "satisfactory query", "is it up?")
	mustSay(t, report.Services["rcon"], "30004/tcp", "is the game running?")
	mustSay(t, report.Services["old"], "if it speaks UDP only")
	if err := is(t, m, "one", api.StatusHealthy, api.GameReachable, api.ReasonNoAnswer, "service factory", "30000/udp"); err != nil {
		t.Error(err)
	}
	metrics(`rathole_manager_probe_success{server_id="one",service="java"} 0`, `rathole_manager_probe_duration_seconds{server_id="one",service="query"} `)

	// They come back, without a word to the tunnel.
	startAsked(t, host)
	mustProbe(t, m, "one", map[string]string{"factory": "", "query": "", "java": "", "pocket": "", "rcon": "", "old": "", "voice": api.ReasonNotProbed})

	if _, err := a.Stop(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 5*time.Second, func() error { return is(t, m, "one", api.StatusDown, api.ClientConnected, "client_lost") })
	report = mustProbe(t, m, "one", map[string]string{
		"factory": api.ReasonPortClosed, "query": api.ReasonPortClosed, "pocket": api.ReasonPortClosed,
		"java": api.ReasonClosedAtOnce, "rcon": api.ReasonClosedAtOnce, "old": api.ReasonClosedAtOnce, "voice": api.ReasonNotProbed,
	})
	mustSay(t, report.Services["java"], "no client is connected to control port")
	mustSay(t, report.Services["query"], "no client is connected to control port")

	if err := m.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if got := testkit.Curl(t, "GET", m.URL+"/metrics", "", "X-API-Token: "+testkit.Token).Body; strings.Contains(got, `server_id="one"`) {
		t.Error("the metrics remember an instance that is gone")
	}
	if _, err := m.Probe(t.Context(), "one"); !client.IsNotFound(err) {
		t.Errorf("probe of nothing: %v", err)
	}
}

// TestProbeOfAnotherGame asks games in a protocol that is not theirs.
func TestProbeOfAnotherGame(t *testing.T) {
	t.Parallel()
	m, a := testkit.StartManager(t, nil), testkit.StartAgent(t, nil)
	server := testkit.StartGame(t, "an echo", 30000, 30001, 30002, 30003)
	udp := []api.Protocol{api.UDP}
	mustCreate(t, m, api.CreateInstance{ServerID: "one", InstanceSpec: api.InstanceSpec{HostIP: server.Host.String(), Services: map[string]api.ServiceSpec{
		"factory": {Protocols: udp, LocalPort: 30000, PublicPort: 30000, Probe: api.ProbeSatisfactory},
		"query":   {Protocols: udp, LocalPort: 30001, PublicPort: 30001, Probe: api.ProbeA2S},
		"pocket":  {Protocols: udp, LocalPort: 30002, PublicPort: 30002, Probe: api.ProbeBedrock},
		"java":    {Protocols: []api.Protocol{api.TCP}, LocalPort: 30003, PublicPort: 30003, Probe: api.ProbeMinecraft},
	}}})
	connect(t, m, a, "one")
	report := mustProbe(t, m, "one", map[string]string{
		"factory": api.ReasonBadAnswer, "query": api.ReasonBadAnswer, "pocket": api.ReasonBadAnswer, "java": api.ReasonNoAnswer,
	})
	mustSay(t, report.Services["query"], "30001/udp", "does not speak a2s", "another kind of probe?")
}

// TestProbeAloneTouchesNoTunnel changes nothing but the probe, by either form of an instance.
func TestProbeAloneTouchesNoTunnel(t *testing.T) {
	t.Parallel()
	m, a := testkit.StartManager(t, nil), testkit.StartAgent(t, nil)
	server := testkit.StartGame(t, "steady", 30000, 30002)
	guide := api.InstanceSpec{GamePort: 30000, HostIP: server.Host.String()}
	named := api.InstanceSpec{HostIP: server.Host.String(), Services: map[string]api.ServiceSpec{
		"game": {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: 30002, PublicPort: 30002, Probe: api.ProbeA2S},
	}}
	for id, spec := range map[string]api.InstanceSpec{"guide": guide, "named": named} {
		before := mustCreate(t, m, api.CreateInstance{ServerID: id, InstanceSpec: spec})
		connect(t, m, a, id)
		was := engineOf(t, m, id)
		port := before.Services["game"].PublicPort
		player, err := game.Join(t.Context(), api.UDP, fmt.Sprintf("%s:%d", m.Bind, port))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = player.Leave() }()
		if got, err := player.Ask("status"); err != nil || got != "steady" {
			t.Fatalf("%q %v", got, err)
		}
		mustProbe(t, m, id, map[string]string{"game": map[string]string{"guide": "", "named": api.ReasonBadAnswer}[id]})

		if id == "guide" {
			spec.Probe = api.ProbeSatisfactory
		} else {
			svc := spec.Services["game"]
			svc.Probe = ""
			spec.Services = map[string]api.ServiceSpec{"game": svc}
		}
		preview, err := m.Update(t.Context(), id, api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{DryRun: true})
		if err != nil || preview.Services["game"].Probe != spec.Probe && id == "guide" {
			t.Errorf("dry run: %+v %v", preview, err)
		}
		after, err := m.Update(t.Context(), id, api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{})
		if err != nil || after.Revision != before.Revision+1 || after.ClientConfigSHA256 != before.ClientConfigSHA256 || after.Probe != spec.Probe {
			t.Errorf("%s: %v\nbefore %+v\nafter %+v", id, err, before, after)
		}
		if got, want := after.Services["game"].Probe, map[string]api.ProbeKind{"guide": api.ProbeSatisfactory, "named": ""}[id]; got != want {
			t.Errorf("%s: probe %q, want %q", id, got, want)
		}
		if now := engineOf(t, m, id); now != was {
			t.Errorf("%s: the engine was touched: %+v, before %+v", id, now, was)
		}
		if got, err := player.Ask("still there?"); err != nil || got != "still there?" {
			t.Errorf("%s: the player's flow broke: %q %v", id, got, err)
		}
		// What was known of the other probe says nothing of this one.
		if err := is(t, m, id, api.StatusHealthy, api.GameReachable, api.ReasonNotProbed, "POST /api/instances/{id}/probe"); err != nil {
			t.Error(err)
		}
		mustProbe(t, m, id, map[string]string{"game": map[string]string{"guide": api.ReasonBadAnswer, "named": ""}[id]})
		again, err := m.Update(t.Context(), id, api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{})
		if err != nil || again.Revision != after.Revision {
			t.Errorf("the same again: revision %d to %d, %v", after.Revision, again.Revision, err)
		}
	}
}

// touched is what a reload or a restart of an engine would change.
type touched struct {
	pid, lines int
	config     time.Time
}

func engineOf(t *testing.T, m *testkit.Manager, id string) touched {
	t.Helper()
	i, err := m.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var now touched
	if _, err := fmt.Sscanf(i.Conditions[0].Message, "rathole runs as process %d", &now.pid); err != nil {
		t.Fatalf("%s: %v", i.Conditions[0].Message, err)
	}
	info, err := os.Stat(filepath.Join(m.State, "instances", id, "conf", "server.toml"))
	if err != nil {
		t.Fatal(err)
	}
	now.config = info.ModTime()
	log, err := m.Logs(t.Context(), id, client.LogQuery{Lines: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range log.Lines {
		if strings.Contains(line, "change detected") {
			now.lines++
		}
	}
	return now
}

// TestProbeSeesThieves has another program answer on the port of an instance whose client is away.
func TestProbeSeesThieves(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	mustCreate(t, m, one("one", 30000, api.TCP))
	testkit.RespondTCP(t, m.Bind, 30000, holdOpen)
	report := mustProbe(t, m, "one", map[string]string{"game": api.ReasonPortStolen})
	mustSay(t, report.Services["game"], "another program answers on public port 30000/tcp")
}

func TestProbeOfADisabledInstance(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	req, no := one("one", 30000, api.TCP), false
	req.Enabled = &no
	mustCreate(t, m, req)
	report := mustProbe(t, m, "one", map[string]string{"game": api.ReasonNotProbed})
	mustSay(t, report.Services["game"], "disabled")
	if err := is(t, m, "one", api.StatusDisabled, api.GameReachable, ""); err == nil || !strings.Contains(err.Error(), "no condition") {
		t.Errorf("a disabled instance has a game: %v", err)
	}
}

// TestProbesAgainAndAgain waits for two rounds: one that fails and one that does not. Nobody asks for them. Each changes what
// is known of the game, and is told; the manager between is another one, and knows what the first one has told.
func TestProbesAgainAndAgain(t *testing.T) {
	t.Parallel()
	state, bind := testkit.StateDir(t), testkit.Address(t)
	start := func() *testkit.Manager {
		return testkit.StartManager(t, func(c *manager.Config) { c.State, c.Bind, c.ProbeInterval = state, bind, 10*time.Second })
	}
	m := start()
	a, host := testkit.StartAgent(t, nil), testkit.Address(t)
	spec := api.InstanceSpec{GamePort: 7777, HostIP: host.String(), Probe: api.ProbeSatisfactory}
	mustCreate(t, m, api.CreateInstance{ServerID: "one", InstanceSpec: spec})
	if err := is(t, m, "one", api.StatusInactive, api.GameReachable, api.ReasonNotProbed); err != nil {
		t.Error(err)
	}
	wait.Eventually(t, 15*time.Second, func() error {
		return is(t, m, "one", api.StatusInactive, api.GameReachable, api.ReasonPortClosed, "service game", "7777/udp")
	})
	m.Shutdown(t)
	m = start()
	mustProbe(t, m, "one", map[string]string{"game": api.ReasonPortClosed}) // as before: no news
	testkit.RespondUDP(t, host, 7777, game.Satisfactory)
	connect(t, m, a, "one")
	wait.Eventually(t, 15*time.Second, func() error {
		return is(t, m, "one", api.StatusHealthy, api.GameReachable, "answered")
	})
	mustProbe(t, m, "one", map[string]string{"game": ""}) // likewise
	list, err := m.Events(t.Context(), client.EventQuery{ServerID: "one", Types: []api.EventType{api.EventProbeFailed, api.EventProbeAnswered}})
	if err != nil || len(list.Events) != 2 {
		t.Fatalf("%v, told %+v, want one failure and one answer", err, list.Events)
	}
	failed, answered := list.Events[0], list.Events[1]
	if failed.Type != api.EventProbeFailed || failed.Reason != api.ReasonPortClosed || !strings.Contains(failed.Message, "service game") {
		t.Errorf("failed: %+v", failed)
	}
	if answered.Type != api.EventProbeAnswered || answered.Reason != "" || !strings.Contains(answered.Message, "it answered at") {
		t.Errorf("answered: %+v", answered)
	}
}

// TestProbeAloneKeepsTheConfigs changes a probe under a manager that would write the client config in another way by now.
func TestProbeAloneKeepsTheConfigs(t *testing.T) {
	t.Parallel()
	state, bind := testkit.StateDir(t), testkit.Address(t)
	start := func(publicHost string) *testkit.Manager {
		return testkit.StartManager(t, func(c *manager.Config) { c.State, c.Bind, c.PublicHost = state, bind, publicHost })
	}
	m := start("old.example.org")
	before := mustCreate(t, m, api.CreateInstance{ServerID: "one", InstanceSpec: api.InstanceSpec{GamePort: 30000}})
	m.Shutdown(t)
	m = start("new.example.org")
	spec := api.InstanceSpec{GamePort: 30000, Probe: api.ProbeBedrock}
	after, err := m.Update(t.Context(), "one", api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{})
	if err != nil || after.Probe != api.ProbeBedrock || after.ClientConfigSHA256 != before.ClientConfigSHA256 {
		t.Errorf("the probe changed the client config: %v %+v", err, after)
	}
	spec.Labels = map[string]string{"for": "control"}
	labelled, err := m.Update(t.Context(), "one", api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{})
	if err != nil || labelled.ClientConfigSHA256 == before.ClientConfigSHA256 {
		t.Errorf("no other change gives another config, so this shows nothing: %v", err)
	}
}
