package faults_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/events"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/scale"
)

const (
	// churnSeconds is what make test has time for; FAULTS_CHURN says another number.
	churnSeconds = 15
	// pace is the pause between two creates, and so between two deletes.
	pace = 100 * time.Millisecond
	// atOnce is how many tunnels are alive at most, beside the busy ones: a machine that does not keep pace would run out of
	// control ports.
	atOnce = 40
	// samples are how many are taken over a run, as far as the machine keeps pace, and enough of them are taken in any case.
	samples, enoughSamples = 32, 20
)

// noise is by how much each measure may seem to grow from the end of the warm-up to the end of the run, on the line fitted
// through it. The services rest while they are measured, but a few connections and the runtime's own threads come and go, and
// the collector's heap wavers by tens of kB. What leaks one of anything for each tunnel grows by as many as there are tunnels:
// a hundred in 15 seconds, 13,000 in half an hour. The race detector keeps memory of its own, so that what is resident is
// judged only without it.
func noise() map[string]float64 {
	all := map[string]float64{"goroutines": 12, "threads": 8, "descriptors": 12, "heap bytes": 256 << 10, "resident kB": 8 << 10}
	info, ok := debug.ReadBuildInfo()
	if ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		delete(all, "resident kB")
	}
	return all
}

// TestChurnLeaksNothing makes ten tunnels a second and removes them, beside busy ones: no count may grow with the number of
// tunnels that have been, no file stay behind, and no player notice.
func TestChurnLeaksNothing(t *testing.T) {
	t.Parallel()
	seconds := time.Duration(scale.Of(t, "FAULTS_CHURN", churnSeconds)) * time.Second
	c := newChurn(t, false)
	checker := players(t, c.addresses)
	before := c.files(t)
	for _, finding := range c.run(t, seconds) {
		t.Error(finding)
	}
	mustNotHaveNoticed(t, checker)
	if after := c.files(t); !slices.Equal(before, after) {
		t.Errorf("files before:\n%s\nand after:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// TestChurnFindsLeaks shows that each of the counts can fail.
func TestChurnFindsLeaks(t *testing.T) {
	t.Parallel()
	c := newChurn(t, true)
	found := c.run(t, 8*time.Second)
	if want := len(c.programs()) * len(noise()); len(found) != want {
		t.Errorf("%d leaks are found, expected %d:\n%s", len(found), want, strings.Join(found, "\n"))
	}
}

// churn is a manager and an agent that make and remove tunnels.
type churn struct {
	manager   *instances
	agent     *clients
	agents    *program
	addresses []string // of the tunnels that stay

	mu     sync.Mutex
	failed error // the first one
}

func newChurn(t *testing.T, leak bool) *churn {
	t.Helper()
	c := &churn{manager: newInstances(t, startGame(t))}
	c.agent, c.agents = newClients(t)
	for _, p := range c.programs() {
		p.Leak = leak
		p.start(t, "", 0)
		p.mustBeReady(t)
	}
	_, c.addresses = mustConnect(t, c.manager, c.agent, 5)
	return c
}

func (c *churn) programs() []*program { return []*program{c.manager.program, c.agents} }

// run makes and removes tunnels for a while, and returns a line for each count that grows.
func (c *churn) run(t *testing.T, d time.Duration) (findings []string) {
	t.Helper()
	var (
		tunnels sync.WaitGroup
		slots   = make(chan struct{}, atOnce)
		x       []float64
		y       = map[string][]float64{} // by measure of a service
	)
	next, begin := time.NewTicker(pace), time.Now()
	defer tunnels.Wait()
	defer next.Stop()
	for number := 1; time.Since(begin) < d || len(x) < enoughSamples; number++ {
		<-next.C
		slots <- struct{}{}
		tunnels.Go(func() {
			c.note(c.live(t, fmt.Sprintf("churn%d", number)))
			<-slots
		})
		if number%max(1, int(d/pace)/samples) == 0 {
			tunnels.Wait()
			x = append(x, float64(number))
			c.sample(t, y)
		}
	}
	tunnels.Wait()
	if c.failed != nil {
		t.Fatalf("%v\n%s", c.failed, c.manager.program.tail())
	}
	warmUp := len(x) / 4 // pools and caches fill
	lived := x[len(x)-1] - x[warmUp]
	t.Logf("%.0f tunnels in %s, %.0f of them after the warm-up", x[len(x)-1], time.Since(begin).Round(time.Second), lived)
	for _, name := range slices.Sorted(maps.Keys(y)) {
		l := fit(x[warmUp:], y[name][warmUp:])
		text := fmt.Sprintf("%s: %.0f at first, %.0f at last, %+.4f ± %.4f for each tunnel", name, y[name][warmUp], y[name][len(x)-1], l.slope, l.err)
		t.Log(text)
		_, kind, _ := strings.Cut(name, " ")
		// Both: more than what wavers anyway, and a slope that its own noise does not explain.
		if allowed, judged := noise()[kind]; judged && l.slope*lived > allowed && l.slope > 4*l.err {
			findings = append(findings, text)
		}
	}
	return findings
}

// live is the whole life of a tunnel, both halves.
func (c *churn) live(t *testing.T, id string) error {
	spec := api.InstanceSpec{HostIP: c.manager.game, Services: map[string]api.ServiceSpec{
		"game": {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: gamePort},
	}}
	ctx := t.Context()
	if _, _, err := c.manager.Create(ctx, api.CreateInstance{ServerID: id, InstanceSpec: spec}, client.CreateOptions{}); err != nil {
		return err
	}
	cfg, err := c.manager.ClientConfig(ctx, id, "")
	if err != nil {
		return err
	}
	if _, err := c.agent.Configure(ctx, id, cfg.Config, false); err != nil {
		return err
	}
	if _, err := c.agent.Stop(ctx, id); err != nil {
		return err
	}
	return c.manager.Delete(ctx, id)
}

func (c *churn) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = err
	}
}

// sample measures both services. No tunnel is being made or removed.
func (c *churn) sample(t *testing.T, into map[string][]float64) {
	t.Helper()
	for _, p := range c.programs() {
		m, err := p.measure()
		if err != nil {
			t.Fatalf("measure the %s: %v\n%s", p.Kind, err, p.tail())
		}
		for name, value := range m {
			name = string(p.Kind) + " " + name
			into[name] = append(into[name], value)
		}
	}
}

// files lists all that lies in the state and log directories of both services.
func (c *churn) files(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, p := range c.programs() {
		err := filepath.WalkDir(p.State, func(path string, _ fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				err = nil // a hint is being replaced
			}
			if !events.IsFile(filepath.Base(path)) { // what happened is kept within bounds, in one file or two
				all = append(all, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}
