package faults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// target is a service as the driver sees it: units in versions. A version says everything about a unit.
type target interface {
	put(ctx context.Context, id string, version int, fresh bool) error
	remove(ctx context.Context, id string) error
	// look returns the version of a unit, 0 if there is none. A unit that is not wholly of one version is an error.
	look(ctx context.Context, id string) (version int, err error)
	list(ctx context.Context) ([]string, error)
	// serves returns nil if a unit of that version does what it should.
	serves(ctx context.Context, id string, version int) error
	// healthy returns nil if both halves of a tunnel are well.
	healthy(ctx context.Context, id string) error
	// runs tells whether a unit of that version has an engine.
	runs(version int) bool
	// consistent compares what the service says of itself with what its records say.
	consistent(ctx context.Context, t *testing.T) error
}

// absent is the version of a unit that does not exist.
const absent = 0

// driver changes units, and knows what each of them may be. An operation that was acknowledged leaves one possibility, one
// that was not leaves two: it has happened or it has not, and never half.
type driver struct {
	program *program
	target  target
	others  []string // units that somebody else made and nobody changes

	gate sync.RWMutex // held for reading by each operation, for writing by who compares everything

	mu       sync.Mutex
	possible map[string][]int // versions; a unit that is not in it is absent
	versions int
	acked    int // operations
	unacked  int
	problems []error
}

func newDriver(p *program, target target, others []string) *driver {
	return &driver{program: p, target: target, others: others, possible: map[string][]int{}}
}

func (d *driver) may(id string) []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if versions := d.possible[id]; len(versions) > 0 {
		return versions
	}
	return []int{absent}
}

func (d *driver) set(id string, versions ...int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.Sort(versions)
	d.possible[id] = slices.Compact(versions)
}

func (d *driver) complain(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.problems = append(d.problems, fmt.Errorf("%s "+format, append([]any{time.Now().Format("15:04:05.000")}, args...)...))
}

// settle asks what became of a unit, and leaves one possibility. It is an error if the answer is none of those.
func (d *driver) settle(ctx context.Context, id string) (version int, err error) {
	may := d.may(id)
	version, err = d.target.look(ctx, id)
	if err != nil {
		return 0, err
	}
	if !slices.Contains(may, version) {
		d.complain("%s %s is of version %d, and may be %v", d.program.Kind, id, version, may)
	}
	d.set(id, version)
	return version, nil
}

// put creates or changes a unit, and tells whether that was acknowledged.
func (d *driver) put(ctx context.Context, id string, before, version int) bool {
	d.set(id, before, version)
	return d.note(d.target.put(ctx, id, version, before == absent), id, before, version)
}

func (d *driver) remove(ctx context.Context, id string, before int) bool {
	d.set(id, before, absent)
	err := d.target.remove(ctx, id)
	if client.IsNotFound(err) { // the client repeats a removal whose answer is lost
		err = nil
	}
	return d.note(err, id, before, absent)
}

func (d *driver) note(err error, id string, before, after int) bool {
	if err == nil {
		d.set(id, after)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.acked++
		return true
	}
	if !client.IsTransient(err) && !errors.Is(err, context.Canceled) {
		d.complain("%s %s from version %d to %d: %v", d.program.Kind, id, before, after, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unacked++
	return false
}

// churn changes its own units at random until ctx ends.
func (d *driver) churn(ctx context.Context, random *rand.Rand, units []string) {
	for ctx.Err() == nil {
		d.gate.RLock()
		err := d.step(ctx, random, units[random.IntN(len(units))])
		d.gate.RUnlock()
		if err != nil {
			select { // the service is dead or loading
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

func (d *driver) step(ctx context.Context, random *rand.Rand, id string) error {
	ctx = context.WithoutCancel(ctx) // what is begun is finished, or cut by a kill
	before, err := d.settle(ctx, id)
	if err != nil {
		if !client.IsTransient(err) {
			d.complain("look at %s %s: %v", d.program.Kind, id, err)
		}
		return err
	}
	if random.IntN(2) == 0 {
		ctx = d.program.alive() // half of the callers go when the service dies, the others ask the next one again
	}
	if before == absent || random.IntN(2) == 0 {
		d.put(ctx, id, before, d.next())
	} else {
		d.remove(ctx, id, before)
	}
	return nil
}

func (d *driver) next() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.versions++
	return d.versions
}

// mustAgree compares everything with the model: records, processes, files, ports. The service is ready, and has ten
// seconds for what it found half done.
func (d *driver) mustAgree(t *testing.T) {
	t.Helper()
	d.gate.Lock()
	defer d.gate.Unlock()
	ctx := t.Context()
	wait.Eventually(t, 10*time.Second, func() error { return d.compare(ctx, t) })
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, err := range d.problems {
		t.Errorf("%v", err)
	}
	if len(d.problems) > 0 {
		t.Fatalf("log of the %s:\n%s", d.program.Kind, d.program.tail())
	}
}

func (d *driver) compare(ctx context.Context, t *testing.T) error {
	d.mu.Lock()
	ids := slices.Sorted(maps.Keys(d.possible))
	d.mu.Unlock()
	want := map[string]bool{}
	for _, id := range d.others {
		want[id] = true
		if err := d.target.healthy(ctx, id); err != nil {
			return err
		}
	}
	for _, id := range ids {
		version, err := d.settle(ctx, id)
		if err != nil {
			return err
		}
		if version == absent {
			continue
		}
		want[id] = d.target.runs(version)
		if err := d.target.serves(ctx, id, version); err != nil {
			return fmt.Errorf("%s of version %d: %w", id, version, err)
		}
	}
	listed, err := d.target.list(ctx)
	if err != nil {
		return err
	}
	if expected := slices.Sorted(maps.Keys(want)); !slices.Equal(listed, expected) {
		return fmt.Errorf("listed are %v, expected %v", listed, expected)
	}
	if err := d.program.differences(t, want); err != nil {
		return err
	}
	return d.target.consistent(ctx, t)
}
