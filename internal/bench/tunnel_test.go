package bench_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// What one round sends through a tunnel.
const (
	bulk     = 64 << 20 // bytes in one TCP stream
	pings    = 50       // datagrams, one after another
	pingSize = 200      // bytes, as of a game
)

// BenchmarkTunnel measures a tunnel that the manager and the agent made against one made by hand: the same engine with the
// same configs, but for the addresses. They take turns.
func BenchmarkTunnel(b *testing.B) {
	host := testkit.Address(b)
	game := serveGame(b, host.String())
	m, a := testkit.StartManager(b, nil), testkit.StartAgent(b, nil)
	spec := api.InstanceSpec{HostIP: host.String(), Services: map[string]api.ServiceSpec{
		"game": {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: game, PublicPort: 30000},
	}}
	_, _, err := m.Create(b.Context(), api.CreateInstance{ServerID: "one", InstanceSpec: spec}, client.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	cfg, err := m.ClientConfig(b.Context(), "one", "")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := a.Configure(b.Context(), "one", cfg.Config, false); err != nil {
		b.Fatal(err)
	}
	if i, err := m.Wait(b.Context(), "one", api.StatusHealthy, 10*time.Second); err != nil || i.Status != api.StatusHealthy {
		b.Fatal(i.Status, err)
	}
	ours := tunnel{address: m.Bind.String() + ":30000"}
	bare := tunnel{address: byHand(b, m, cfg.Config) + ":30000"}
	for _, t := range []*tunnel{&ours, &bare} {
		t.ping(b)
		t.pour(b)
	}
	turns := []*tunnel{&ours, &bare}
	for range b.N {
		slices.Reverse(turns) // whoever comes first finds another machine than who comes second
		for _, t := range turns {
			t.rtts = append(t.rtts, t.ping(b)...)
			t.bulks = append(t.bulks, t.pour(b))
		}
	}
	for name, t := range map[string]*tunnel{"ours": &ours, "bare": &bare} {
		b.ReportMetric(bulk/1e3/percentile(t.bulks, 0.5), name+"-MB/s")
		b.ReportMetric(percentile(t.rtts, 0.5), name+"-rtt-p50-ms")
		b.ReportMetric(percentile(t.rtts, 0.99), name+"-rtt-p99-ms")
	}
	b.ReportMetric(percentile(bare.bulks, 0.5)/percentile(ours.bulks, 0.5), "ratio-throughput")
	b.ReportMetric(percentile(bare.rtts, 0.5)/percentile(ours.rtts, 0.5), "ratio-latency")
}

// byHand runs both halves of a copy of the tunnel with no service of ours, and returns its public address.
func byHand(b *testing.B, m *testkit.Manager, clientConfig string) string {
	b.Helper()
	address, dir := testkit.Address(b).String(), b.TempDir()
	text, err := os.ReadFile(filepath.Join(m.State, "instances", "one", "conf", "server.toml"))
	if err != nil {
		b.Fatal(err)
	}
	for _, half := range []struct{ name, flag, text string }{{"server", "-s", string(text)}, {"client", "-c", clientConfig}} {
		path := filepath.Join(dir, half.name, half.name+".toml")
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(half.text, m.Bind.String(), address)), 0o600); err != nil {
			b.Fatal(err)
		}
		cmd := exec.Command(testkit.Rathole(b), half.flag, path)
		// As init and every service manager start it: Linux schedules by sessions (sched_autogroup_enabled), and a busy
		// machine serves an engine that shares the session of its player better than one that does not.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it was killed
		})
	}
	t := tunnel{address: address + ":30000"}
	wait.Eventually(b, 10*time.Second, func() error {
		conn, err := net.Dial("tcp", t.address)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	return address
}

// tunnel is a public address, and what was measured of it.
type tunnel struct {
	address     string
	rtts, bulks []time.Duration
}

// pour sends a stream and waits for the byte that says that all of it has arrived.
func (t *tunnel) pour(b *testing.B) time.Duration {
	b.Helper()
	begin := time.Now()
	conn, err := net.Dial("tcp", t.address)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	block := make([]byte, 1<<20)
	for range bulk / len(block) {
		if _, err := conn.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := io.ReadFull(conn, block[:1]); err != nil {
		b.Fatal(err)
	}
	return time.Since(begin)
}

// ping sends datagrams, each once the answer to the one before has come. One that is lost is sent again.
func (t *tunnel) ping(b *testing.B) []time.Duration {
	b.Helper()
	conn, err := net.Dial("udp", t.address)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	var rtts []time.Duration
	buf := make([]byte, pingSize)
	for try := 0; len(rtts) < pings; try++ {
		if try > 2*pings {
			b.Fatal("half of the datagrams are lost")
		}
		begin := time.Now()
		if _, err := conn.Write(buf); err != nil {
			continue
		}
		if err := conn.SetReadDeadline(begin.Add(time.Second)); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(buf); err == nil {
			rtts = append(rtts, time.Since(begin))
		}
	}
	return rtts
}

// serveGame echoes datagrams, and answers a stream by one byte once it has all of it. It returns its port.
func serveGame(b *testing.B, host string) int {
	b.Helper()
	streams, err := net.Listen("tcp", host+":0")
	if err != nil {
		b.Fatal(err)
	}
	port := streams.Addr().(*net.TCPAddr).Port
	datagrams, err := net.ListenPacket("udp", fmt.Sprintf("%s:%d", host, port))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = streams.Close(), datagrams.Close() })
	go func() {
		for {
			conn, err := streams.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if _, err := io.CopyN(io.Discard, conn, bulk); err == nil {
					_, _ = conn.Write([]byte{1})
				}
			}()
		}
	}()
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := datagrams.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = datagrams.WriteTo(buf[:n], from)
		}
	}()
	return port
}
