package worlds_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/flow"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/scale"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// TestGameRestarted restarts a game under twenty players who send two datagrams back to back: rathole alone leaves each of
// them unserved for good. A TCP stream of another service must not notice.
func TestGameRestarted(t *testing.T) {
	t.Parallel()
	m, a, host := testkit.StartManager(t, nil), testkit.StartAgent(t, nil), testkit.Address(t)
	mustStartGame(t, host, otherPort)
	pauses := []time.Duration{0, 300 * time.Millisecond, 2 * time.Second}
	for round := range scale.Of(t, "WORLDS_RESTARTS", 3) {
		id := fmt.Sprintf("round%d", round)
		game := mustStartGame(t, host, gamePort)
		mustConnect(t, m, a, id, api.InstanceSpec{HostIP: host.String(), Services: map[string]api.ServiceSpec{
			"game": service(gamePort, api.UDP), "other": service(otherPort, api.TCP),
		}})
		pushed, err := a.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		streams := flow.Start(t.Context(), flow.Config{Targets: []string{address(m.Bind, otherPort)}, TCP: 2})
		crowd := startBursting(t, address(m.Bind, gamePort), 20)
		wait.Eventually(t, 5*time.Second, func() error { return crowd.unserved(time.Time{}) })
		// The agent looks at the game some times a second.
		wait.Eventually(t, 5*time.Second, func() error { return crowd.unserved(crowd.began.Add(500 * time.Millisecond)) })

		game.Stop()
		time.Sleep(pauses[round%len(pauses)]) // for so long there is no game
		game = mustStartGame(t, host, gamePort)
		back := time.Now()
		wait.Eventually(t, 2*time.Second, func() error { return crowd.unserved(back.Add(500 * time.Millisecond)) })
		t.Logf("round %d, away for %s: all are served %s after the game was back", round, pauses[round%len(pauses)], time.Since(back).Round(time.Millisecond))

		crowd.stop()
		if report := streams.Stop(); !report.Clean() || report.Sent == 0 {
			t.Errorf("the other service noticed: %s", report)
		}
		c, err := a.Get(t.Context(), id)
		if err != nil || c.ConfigSHA256 != pushed.ConfigSHA256 {
			t.Errorf("the client is another: %v %+v", err, c)
		}
		game.Stop()
		if _, err := a.Stop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if err := m.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	healed, err := a.Events(t.Context(), client.EventQuery{Types: []api.EventType{api.EventHealing}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range healed.Events {
		if e.Reason != "game_restarted" {
			t.Errorf("%+v", e)
		}
	}
	t.Logf("%d healed", len(healed.Events))
}

// crowd are UDP players.
type crowd struct {
	began time.Time
	all   []*burster
	stop  func()
}

// burster is a player who sends two datagrams back to back, and counts an answer only if it was asked for lately.
type burster struct {
	answered atomic.Int64 // when the newest message that was answered was sent, in nanoseconds
}

func startBursting(t *testing.T, target string, count int) *crowd {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	c := &crowd{began: time.Now(), stop: func() { cancel(); wg.Wait() }}
	t.Cleanup(c.stop)
	for range count {
		conn, err := net.Dial("udp", target)
		if err != nil {
			t.Fatal(err)
		}
		b := &burster{}
		c.all = append(c.all, b)
		wg.Go(func() { b.send(ctx, conn) })
		wg.Go(func() { b.receive(conn) })
	}
	return c
}

// send plays until ctx ends. Each message is the time at which it is sent.
func (b *burster) send(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		text := []byte(strconv.FormatInt(time.Now().UnixNano(), 10))
		_, _ = conn.Write(text) // a lost one is what the players of a broken tunnel have
		_, _ = conn.Write(text)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (b *burster) receive(conn net.Conn) {
	buf := make([]byte, 2048)
	for {
		n, err := conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		text, _, _ := strings.Cut(string(buf[:n]), " ")
		if at, bad := strconv.ParseInt(text, 10, 64); err == nil && bad == nil {
			b.answered.Store(max(b.answered.Load(), at))
		}
	}
}

// unserved is nil if every player was answered a message that was sent after a moment.
func (c *crowd) unserved(since time.Time) error {
	dead := 0
	for _, b := range c.all {
		if at := b.answered.Load(); at == 0 || at < since.UnixNano() {
			dead++
		}
	}
	if dead > 0 {
		return fmt.Errorf("%d of %d players are not served", dead, len(c.all))
	}
	return nil
}
