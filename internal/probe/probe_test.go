package probe_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/probe"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
)

func anyPort() netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:0") }

func respondUDP(t *testing.T, answer func([]byte) []byte) netip.AddrPort {
	t.Helper()
	r, err := game.RespondUDP(anyPort(), answer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	return r.Address
}

func respondTCP(t *testing.T, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	r, err := game.RespondTCP(anyPort(), serve)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	return r.Address
}

func number(n int) *int { return &n }

func TestGamesThatAnswer(t *testing.T) {
	t.Parallel()
	dayZ := api.GameInfo{Name: "/r/DayzUnderground US", Game: "DayZ", Version: "0.60.133913", Map: "282341", Players: number(9), MaxPlayers: number(50)}
	silent := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	for name, tc := range map[string]struct {
		kind api.ProbeKind
		udp  func([]byte) []byte
		tcp  func(net.Conn)
		game api.GameInfo
	}{
		"satisfactory":            {api.ProbeSatisfactory, game.Satisfactory, nil, api.GameInfo{Name: "Satisfactory Server", Game: "Satisfactory", Version: "366202", State: "playing"}},
		"a2s":                     {api.ProbeA2S, game.A2S, nil, dayZ},
		"a2s with a challenge":    {api.ProbeA2S, game.A2SChallenged, nil, dayZ},
		"bedrock":                 {api.ProbeBedrock, game.Bedrock, nil, api.GameInfo{Name: "Dedicated Server", Game: "MCPE", Version: "1.19.1", Map: "Bedrock level", Players: number(0), MaxPlayers: number(10)}},
		"minecraft":               {api.ProbeMinecraft, nil, game.Minecraft, api.GameInfo{Name: "Hello world", Game: "Minecraft", Version: "1.8.7", Players: number(5), MaxPlayers: number(100)}},
		"tcp, a game that waits":  {api.ProbeTCP, nil, silent, api.GameInfo{}},
		"tcp, a game that speaks": {api.ProbeTCP, nil, func(conn net.Conn) { _, _ = conn.Write([]byte("hi")) }, api.GameInfo{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := probe.Target{Protocol: api.UDP, Kind: tc.kind}
			if tc.udp != nil {
				target.Address = respondUDP(t, tc.udp)
			} else {
				target.Protocol, target.Address = api.TCP, respondTCP(t, tc.tcp)
			}
			got, err := probe.Probe(t.Context(), target)
			if err != nil || got.Kind != tc.kind || !reflect.DeepEqual(got.Game, tc.game) || got.RTT <= 0 || got.RTT > probe.Timeout {
				t.Errorf("%+v %v, want %+v", got, err, tc.game)
			}
		})
	}
}

// mustFail probes and checks why it failed, and that the message names the port.
func mustFail(ctx context.Context, t *testing.T, target probe.Target, reason, words string) {
	t.Helper()
	got, err := probe.Probe(ctx, target)
	var f *probe.Failure
	if !errors.As(err, &f) || f.Reason != reason || !strings.Contains(f.Message, words) || got.Kind == "" {
		t.Errorf("%+v: %v, want the reason %s and the words %q", got, err, reason, words)
	}
}

func TestGamesThatDoNot(t *testing.T) {
	t.Parallel()
	echo := func(q []byte) []byte { return q }
	another := game.Satisfactory(satisfactoryQuestion())
	say := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 512))
			_, _ = conn.Write([]byte(text))
		}
	}
	for name, tc := range map[string]struct {
		kinds  []api.ProbeKind
		udp    func([]byte) []byte
		tcp    func(net.Conn)
		reason string
		words  string
	}{
		"hangs up":         {[]api.ProbeKind{api.ProbeTCP, api.ProbeMinecraft}, nil, func(net.Conn) {}, api.ReasonClosedAtOnce, "is the game running?"},
		"echoes":           {[]api.ProbeKind{api.ProbeSatisfactory, api.ProbeA2S, api.ProbeBedrock}, echo, nil, api.ReasonBadAnswer, "another kind of probe?"},
		"satisfactory":     {[]api.ProbeKind{api.ProbeA2S, api.ProbeBedrock}, func([]byte) []byte { return another }, nil, api.ReasonBadAnswer, "does not speak"},
		"a web server":     {[]api.ProbeKind{api.ProbeMinecraft}, nil, say("HTTP/1.1 400 Bad Request\r\n\r\n"), api.ReasonBadAnswer, "does not speak minecraft"},
		"stops in between": {[]api.ProbeKind{api.ProbeMinecraft}, nil, say("\x20\x00\x1e{"), api.ReasonBadAnswer, "cut short"},
		"a huge packet":    {[]api.ProbeKind{api.ProbeMinecraft}, nil, say("\xff\xff\xff\xff\x07"), api.ReasonBadAnswer, "a packet of 2147483647 bytes"},
		"a negative one":   {[]api.ProbeKind{api.ProbeMinecraft}, nil, say("\xff\xff\xff\xff\x0f"), api.ReasonBadAnswer, "a packet of -1 bytes"},
		"endless numbers":  {[]api.ProbeKind{api.ProbeMinecraft}, nil, say("\xff\xff\xff\xff\xff\xff"), api.ReasonBadAnswer, "a number without end"},
		"split":            {[]api.ProbeKind{api.ProbeA2S}, func([]byte) []byte { return []byte("\xfe\xff\xff\xff\x01\x00\x00\x00\x02\x00\xe0\x04") }, nil, api.ReasonBadAnswer, "split"},
		"challenges":       {[]api.ProbeKind{api.ProbeA2S}, func([]byte) []byte { return []byte("\xff\xff\xff\xffA1234") }, nil, api.ReasonBadAnswer, "one challenge after another"},
	} {
		for _, kind := range tc.kinds {
			t.Run(name+" to "+string(kind), func(t *testing.T) {
				t.Parallel()
				target := probe.Target{Protocol: api.UDP, Kind: kind}
				if tc.udp != nil {
					target.Address = respondUDP(t, tc.udp)
				} else {
					target.Protocol, target.Address = api.TCP, respondTCP(t, tc.tcp)
				}
				mustFail(t.Context(), t, target, tc.reason, tc.words)
			})
		}
	}
}

func satisfactoryQuestion() []byte {
	q := []byte{0xD5, 0xF6, 0, 1}
	return append(binary.LittleEndian.AppendUint64(q, 12345), 1)
}

func TestSilenceAndClosedPorts(t *testing.T) {
	t.Parallel()
	kinds := map[api.Protocol][]api.ProbeKind{
		api.TCP: {api.ProbeTCP, api.ProbeMinecraft},
		api.UDP: {api.ProbeSatisfactory, api.ProbeA2S, api.ProbeBedrock},
	}
	for protocol, all := range kinds {
		for _, kind := range all {
			t.Run(string(kind), func(t *testing.T) {
				t.Parallel()
				r, err := game.RespondUDP(anyPort(), func([]byte) []byte { return nil })
				if protocol == api.TCP {
					r, err = game.RespondTCP(anyPort(), func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
				}
				if err != nil {
					t.Fatal(err)
				}
				target := probe.Target{Address: r.Address, Protocol: protocol, Kind: kind}
				if kind != api.ProbeTCP {
					limit := 1200 * time.Millisecond
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					defer cancel()
					if kind == api.ProbeBedrock { // who sets no limit has one all the same
						ctx, limit = t.Context(), probe.Timeout
					}
					begin := time.Now()
					mustFail(ctx, t, target, api.ReasonNoAnswer, "is it up?")
					if took := time.Since(begin); took < limit || took > limit+2*time.Second {
						t.Errorf("it gave up after %s, want %s", took, limit)
					}
				}
				r.Stop()
				mustFail(t.Context(), t, target, api.ReasonPortClosed, "nothing listens on public port")
			})
		}
	}
}

// TestLostDatagrams loses the first question, and sends something else before the answer.
func TestLostDatagrams(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	address := respondUDP(t, func(q []byte) []byte {
		if asked.Add(1) == 1 {
			return nil
		}
		return game.Bedrock(q)
	})
	got, err := probe.Probe(t.Context(), probe.Target{Address: address, Protocol: api.UDP, Kind: api.ProbeBedrock})
	if err != nil || got.Game.Name != "Dedicated Server" || got.RTT < time.Second || asked.Load() != 2 {
		t.Errorf("%+v %v after %d questions", got, err, asked.Load())
	}

	server, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(anyPort()))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 2048)
		n, from, err := server.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		for _, answer := range [][]byte{[]byte("stray"), {}, game.Satisfactory(satisfactoryQuestion()), game.Satisfactory(buf[:n])} {
			_, _ = server.WriteToUDPAddrPort(answer, from)
		}
	}()
	got, err = probe.Probe(t.Context(), probe.Target{Address: server.LocalAddr().(*net.UDPAddr).AddrPort(), Protocol: api.UDP, Kind: api.ProbeSatisfactory})
	if err != nil || got.Game.State != "playing" || got.RTT > time.Second {
		t.Errorf("behind strays: %+v %v", got, err)
	}
}

func TestTheContextEndsAProbe(t *testing.T) {
	t.Parallel()
	udp := respondUDP(t, func([]byte) []byte { return nil })
	tcp := respondTCP(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	for _, target := range []probe.Target{
		{Address: udp, Protocol: api.UDP, Kind: api.ProbeA2S},
		{Address: tcp, Protocol: api.TCP, Kind: api.ProbeMinecraft},
		{Address: tcp, Protocol: api.TCP},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		begin := time.Now()
		_, err := probe.Probe(ctx, target)
		if took := time.Since(begin); err == nil || took > 3*time.Second {
			t.Errorf("%+v: %v after %s", target, err, took)
		}
		cancel()
	}
}

func TestNothingToAsk(t *testing.T) {
	t.Parallel()
	mustFail(t.Context(), t, probe.Target{Address: anyPort(), Protocol: api.UDP}, api.ReasonNotProbed, "name its query protocol")
	for _, wrong := range []probe.Target{
		{Protocol: api.UDP, Kind: api.ProbeTCP}, {Protocol: api.TCP, Kind: api.ProbeA2S}, {Protocol: api.TCP, Kind: "quake"}, {Kind: api.ProbeMinecraft},
	} {
		if _, err := probe.Probe(t.Context(), wrong); err == nil || errors.As(err, new(*probe.Failure)) {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}
