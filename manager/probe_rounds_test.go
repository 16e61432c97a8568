package manager

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/probe"
)

func TestRoundsAreSpreadOverTheInterval(t *testing.T) {
	t.Parallel()
	const instances, seconds = 1000, 60
	at := map[uint32]int{}
	for i := range instances {
		at[secondOf(fmt.Sprintf("srv_user%d_%04x", i, i*7919), seconds)]++
	}
	for second := range uint32(seconds) {
		if n := at[second]; n == 0 || n > 3*instances/seconds {
			t.Errorf("second %d has %d of %d instances", second, n, instances)
		}
	}
}

func TestProbesWaitForASlot(t *testing.T) {
	t.Parallel()
	p := newProber(Config{Bind: netip.IPv6Unspecified()}, nil, nil, nil)
	if p.from.String() != "127.0.0.1" {
		t.Errorf("a wildcard is dialled at %s", p.from)
	}
	for range maxProbes {
		p.slots <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	r, _ := p.service(ctx, probe.Target{Address: netip.MustParseAddrPort("127.0.0.1:1"), Protocol: api.TCP})
	if r.OK || r.Reason != api.ReasonNotProbed || !strings.Contains(r.Message, "256 probes are under way") {
		t.Errorf("%+v", r)
	}
	<-p.slots
	if r, _ = p.service(t.Context(), probe.Target{Address: netip.MustParseAddrPort("127.0.0.1:1"), Protocol: api.UDP}); len(p.slots) != maxProbes-1 {
		t.Errorf("a slot is lost: %d, %+v", len(p.slots), r)
	}
}
