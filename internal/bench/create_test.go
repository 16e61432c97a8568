package bench_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
)

// BenchmarkCreate measures POST /api/instances against what it cannot do without: one durable file and the start of rathole
// until it listens. The two alternate, so that both see the same machine.
func BenchmarkCreate(b *testing.B) {
	state, bind := testkit.StateDir(b), testkit.Address(b)
	m, _ := startManager(b, testkit.Rathole(b), state, bind.String(), "--stop-on-exit")
	bare := newBare(b, testkit.Address(b).String())
	var bareTook, createTook []time.Duration
	for i := 0; b.Loop(); i++ {
		bareTook = append(bareTook, bare.start(b))
		id := fmt.Sprint("srv-", i)
		begin := time.Now()
		if _, _, err := m.Create(b.Context(), instance(id), client.CreateOptions{}); err != nil {
			b.Fatal(err)
		}
		createTook = append(createTook, time.Since(begin))
		if err := m.Delete(b.Context(), id); err != nil {
			b.Fatal(err)
		}
	}
	for name, p := range map[string]float64{"p50": 0.5, "p99": 0.99} {
		b.ReportMetric(percentile(bareTook, p), "bare-"+name+"-ms")
		b.ReportMetric(percentile(createTook, p), "create-"+name+"-ms")
	}
	b.ReportMetric(percentile(createTook, 0.5)/percentile(bareTook, 0.5), "ratio-p50")
	m.stop(b)
}

// bare starts rathole as anybody would, beside one durable file.
type bare struct{ rathole, dir, address string }

func newBare(b *testing.B, host string) bare {
	b.Helper()
	x := bare{rathole: testkit.Rathole(b), dir: b.TempDir(), address: host + ":10000"}
	config := fmt.Sprintf("[server]\nbind_addr = %q\ndefault_token = \"x\"\n[server.services.game_tcp]\ntype = \"tcp\"\nbind_addr = \"%s:30000\"\n", x.address, host)
	if err := os.MkdirAll(filepath.Join(x.dir, "conf"), 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(x.dir, "conf", "server.toml"), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	return x
}

func (x bare) start(b *testing.B) time.Duration {
	b.Helper()
	begin := time.Now()
	f, err := os.Create(filepath.Join(x.dir, "record.next"))
	if err != nil {
		b.Fatal(err)
	}
	_, err = f.WriteString(strings.Repeat("x", 2000))
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Rename(filepath.Join(x.dir, "record.next"), filepath.Join(x.dir, "record"))
	}
	if err != nil {
		b.Fatal(err)
	}
	dir, err := os.Open(x.dir)
	if err != nil {
		b.Fatal(err)
	}
	if err := dir.Sync(); err != nil {
		b.Fatal(err)
	}
	_ = dir.Close()
	cmd := exec.CommandContext(b.Context(), x.rathole, "-s", filepath.Join(x.dir, "conf", "server.toml"))
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	for {
		conn, err := net.Dial("tcp", x.address)
		if err == nil {
			_ = conn.Close()
			break
		}
		time.Sleep(200 * time.Microsecond)
	}
	took := time.Since(begin)
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	return took
}
