package faults_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/satishost/terraform-provider-rathole/internal/testkit/scale"
)

const (
	// What make test has time for; FAULTS_KILLS and FAULTS_TUNNELS say other numbers.
	shortKills   = 50
	shortTunnels = 20
	// episode is how many deaths one sequence has, on average: few enough that a sequence which fails can be shrunk.
	episode = 8
)

// machine is the state machine: a manager and an agent that are changed and killed, beside tunnels that nobody may touch.
//
// Every sequence of rapid's begins with nothing but those tunnels. The services are the same in all sequences: to connect
// fifty tunnels anew for each of them takes longer than the sequence. So a sequence that fails can be repeated and shrunk, as
// far as a moment can be repeated: a kill comes some milliseconds after the operations have begun.
type machine struct {
	t        *testing.T
	models   map[kind]*model
	deaths   int
	wanted   int  // deaths, in all sequences
	shrinks  bool // a sequence has failed, and rapid is looking for a shorter one
	finished bool // the present sequence
}

// death is one kill -9.
type death struct {
	Service kind
	After   int // milliseconds since the operations have begun, or since the last death
	Twice   int // if not 0: it dies again so many milliseconds later, ready or not
}

// steps draws what callers do while services die. The names are what rapid reports.
func (m *machine) steps() map[string]func(*rapid.T) {
	dies := func(services ...kind) func(*rapid.T) {
		return func(rt *rapid.T) {
			if m.enough() {
				return
			}
			chains := rapid.SliceOfNDistinct(rapid.Custom(drawChain), 6, 12, func(c chain) string { return string(c.Service) + c.Unit }).Draw(rt, "chains")
			deaths := make([]death, len(services))
			for i, service := range services {
				deaths[i] = death{Service: service, After: rapid.IntRange(0, 200).Draw(rt, "after"), Twice: drawTwice(rt)}
			}
			m.step(m.checked(rt), chains, deaths)
		}
	}
	return map[string]func(*rapid.T){
		"the manager dies": dies(managers), "the agent dies": dies(agents), "both die": dies(managers, agents),
		"": func(rt *rapid.T) { m.mustAgree(m.checked(rt)) },
	}
}

func drawChain(rt *rapid.T) chain {
	return chain{
		Service: rapid.SampledFrom([]kind{managers, agents}).Draw(rt, "service"),
		Unit:    rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(rt, "unit"),
		Ops:     rapid.SliceOfN(rapid.Custom(drawOp), 1, 6).Draw(rt, "ops"),
	}
}

func drawOp(rt *rapid.T) op {
	return op{
		Verb: rapid.SampledFrom([]verb{create, update, toggle, restart, remove}).Draw(rt, "verb"),
		Kind: rapid.IntRange(0, kinds-1).Draw(rt, "kind"), Patient: rapid.Bool().Draw(rt, "patient"), Keyed: rapid.Bool().Draw(rt, "keyed"),
	}
}

// drawTwice lets one death in four come twice.
func drawTwice(rt *rapid.T) int {
	if rapid.IntRange(0, 3).Draw(rt, "again") > 0 {
		return 0
	}
	return rapid.IntRange(1, 60).Draw(rt, "soon")
}

// enough tells whether rapid may come to an end, which only knows a number of sequences.
func (m *machine) enough() bool { return m.deaths >= m.wanted && !m.shrinks }

// step lets the callers begin at once, and the services die meanwhile.
func (m *machine) step(t tester, chains []chain, deaths []death) {
	t.Helper()
	var callers sync.WaitGroup
	defer callers.Wait()
	for _, c := range chains {
		callers.Go(func() { m.models[c.Service].run(t.Context(), c) })
	}
	for _, d := range deaths {
		p := m.models[d.Service].program
		m.die(t, p, d.After)
		if d.Twice > 0 {
			m.die(t, p, d.Twice)
		}
	}
}

func (m *machine) die(t tester, p *program, after int) {
	t.Helper()
	moment := time.NewTimer(time.Duration(after) * time.Millisecond)
	<-moment.C
	p.kill(t)
	p.start(t, "", 0)
	m.deaths++
}

func (m *machine) mustAgree(t tester) {
	t.Helper()
	for _, model := range m.models {
		model.program.mustBeReady(t)
		model.mustAgree(t)
	}
}

// checked is a sequence of rapid's whose failures are told in full at once, for the moment may not come back; and to rapid in
// words that are the same each time, for that is how it knows a failure again.
type checked struct {
	*rapid.T
	outer *testing.T
}

func (m *machine) checked(rt *rapid.T) tester { return checked{rt, m.t} }

func (c checked) Fatalf(format string, args ...any) {
	c.outer.Helper()
	c.outer.Logf(format, args...)
	c.T.Fatalf("%s", format)
}

func (c checked) Errorf(format string, args ...any) {
	c.outer.Helper()
	c.outer.Logf(format, args...)
	c.T.Errorf("%s", format)
}

// TestKilledAtRandom kills the manager and the agent at random moments, while players play through tunnels and other
// instances come, change and go. After each death what was acknowledged must be, and nothing else; and no player may notice.
func TestKilledAtRandom(t *testing.T) {
	t.Parallel()
	seed := scale.Of(t, "FAULTS_SEED", rand.Uint64())
	kills := scale.Of(t, "FAULTS_KILLS", shortKills)
	tunnels := scale.Of(t, "FAULTS_TUNNELS", shortTunnels)
	t.Logf("FAULTS_SEED=%d FAULTS_KILLS=%d FAULTS_TUNNELS=%d", seed, kills, tunnels)
	for name, value := range map[string]string{
		"seed": strconv.FormatUint(seed, 10), "steps": strconv.Itoa(episode), "checks": strconv.Itoa(kills), "nofailfile": "true",
		"shrinktime": "2m", // it takes ten seconds to see that something is wrong
	} {
		if err := flag.Set("rapid."+name, value); err != nil {
			t.Fatal(err)
		}
	}

	i := newInstances(t, startGame(t))
	a, agentProgram := newClients(t)
	for _, p := range []*program{i.program, agentProgram} {
		p.start(t, "", 0)
		p.mustBeReady(t)
	}
	busy, addresses := mustConnect(t, i, a, tunnels)
	checker := players(t, addresses)
	m := &machine{t: t, wanted: kills, models: map[kind]*model{managers: newModel(i.program, i, busy), agents: newModel(agentProgram, a, busy)}}

	begin := time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		if m.enough() {
			return
		}
		defer func() { m.shrinks = m.shrinks || !m.finished }()
		m.finished = false
		for _, model := range m.models {
			model.reset(m.checked(rt))
		}
		rt.Repeat(m.steps())
		m.finished = true
	})
	operations := ""
	for _, model := range m.models {
		operations += fmt.Sprintf("; %d operations of the %s answered, %d not", model.answered, model.program.Kind, model.lost)
		if model.answered < kills {
			t.Errorf("only %d operations of the %s were answered: the kills leave no time for work", model.answered, model.program.Kind)
		}
	}
	t.Logf("%d kills in %s%s", m.deaths, time.Since(begin).Round(time.Second), operations)
	mustNotHaveNoticed(t, checker)
}
