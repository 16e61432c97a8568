package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// TestMessages provokes each trouble of README.md, and compares what is said with what is written: every message that is
// shown must have been heard, and every one that was heard must be shown.
func TestMessages(t *testing.T) {
	t.Parallel()
	shown := map[string]bool{}
	for _, title := range []string{"Port conflicts", "Client connection fails", "Config errors", "Process zombies", "A service does not start"} {
		found := false
		for _, s := range readme(t) {
			if s.Title != title {
				continue
			}
			for _, b := range s.Blocks {
				found = true
				if b.Language == "text" {
					shown[strings.TrimSuffix(b.Text, "\n")] = true
				}
			}
		}
		if !found {
			t.Errorf("README.md shows no message under %q", title)
		}
	}
	m := testkit.StartManager(t, func(c *manager.Config) { c.BackoffMin = 10 * time.Second })
	heard := append(startUpMessages(t), portMessages(t, m)...)
	heard = append(heard, connectionMessages(t, m)...)
	heard = append(heard, killedMessage(t, m))
	for _, message := range heard {
		if !shown[message] {
			t.Errorf("README.md does not show:\n%s", message)
		}
		delete(shown, message)
	}
	for message := range shown {
		t.Errorf("nothing says:\n%s", message)
	}
}

// startUpMessages are what a service that refuses to start says.
func startUpMessages(t *testing.T) []string {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	overlap := manager.Config{
		Public: []api.PortRange{{Start: 15000, End: 30000}}, PublicHost: "vps.example.org", Bind: netip.IPv4Unspecified(), Log: quiet,
	}
	nameless := manager.Config{Bind: netip.IPv4Unspecified(), Log: quiet}
	_, inClear := httpapi.Listener{Address: ":7001"}.Open(t.Context())
	state := t.TempDir()
	lock, err := supervisor.LockState(state)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	_, locked := supervisor.LockState(state)
	var said []string
	for _, err := range []error{overlap.Check(), nameless.Check(), inClear, locked} {
		if err == nil {
			t.Fatal("a start that must be refused is not")
		}
		said = append(said, strings.ReplaceAll(err.Error(), state, "/var/lib/rathole-manager"))
	}
	return said
}

// create makes an instance with a game port.
func create(t *testing.T, m *testkit.Manager, id string, port int) (api.Instance, error) {
	t.Helper()
	made, _, err := m.Create(t.Context(), api.CreateInstance{ServerID: id, InstanceSpec: api.InstanceSpec{GamePort: port}}, client.CreateOptions{})
	return made, err
}

func portMessages(t *testing.T, m *testkit.Manager) []string {
	t.Helper()
	if _, err := create(t, m, "srv_user123_abcd1234", 30000); err != nil {
		t.Fatal(err)
	}
	ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(m.Bind, 30002)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	var said []string
	for id, port := range map[string]int{"second": 30000, "third": 30002} {
		_, err := create(t, m, id, port)
		var p *api.Problem
		if !errors.As(err, &p) || p.Status != http.StatusConflict || p.Code != api.CodePortInUse {
			t.Fatalf("a taken port: %v", err)
		}
		said = append(said, regexp.MustCompile(fmt.Sprintf(`by .* \(pid %d\)`, os.Getpid())).ReplaceAllString(p.Detail, "by nginx (pid 812)"))
	}
	return said
}

// connectionMessages are those of an instance that has no client, and of a client that has neither server nor game.
func connectionMessages(t *testing.T, m *testkit.Manager) []string {
	t.Helper()
	lonely, err := m.Get(t.Context(), "srv_user123_abcd1234")
	if err != nil {
		t.Fatal(err)
	}
	a := testkit.StartAgent(t, nil)
	host := testkit.Address(t).String()
	const config = `[client]
remote_addr = "%[1]s:9999"
[client.services.game_tcp]
type = "tcp"
token = "x"
local_addr = "%[2]s:30000"
[client.services.game_udp]
type = "udp"
token = "x"
local_addr = "%[2]s:30000"
`
	if _, err := a.Configure(t.Context(), "srv_user123_abcd1234", fmt.Sprintf(config, m.Bind, host), false); err != nil {
		t.Fatal(err)
	}
	var connected, local string
	wait.Eventually(t, 10*time.Second, func() error {
		c, err := a.Get(t.Context(), "srv_user123_abcd1234")
		if err != nil {
			return err
		}
		connected, local = message(c.Conditions, api.Connected), message(c.Conditions, api.LocalReachable)
		if !strings.Contains(connected, "refused") {
			return errors.New(connected)
		}
		return nil
	})
	testBadConfig(t, a)
	return []string{
		strings.ReplaceAll(message(lonely.Conditions, api.ClientConnected), fmt.Sprint(lonely.RatholePort), "10000"),
		strings.ReplaceAll(connected, m.Bind.String()+":9999", "your-public-vps-ip:10000"),
		strings.ReplaceAll(local, host, "127.0.0.1"),
	}
}

// testBadConfig compares the answer to a config with two mistakes with the one that README.md shows.
func testBadConfig(t *testing.T, a *testkit.Agent) {
	t.Helper()
	body, err := json.Marshal(api.ConfigureClient{ClientConfig: "[client]\nremote_addr = \"192.0.2.1:10001\"\n" +
		"[client.services.game_tcp]\ntype = \"tcp\"\ntokn = \"x\"\nlocal_addr = \"127.0.0.1:30000\"\n"})
	if err != nil {
		t.Fatal(err)
	}
	answer := testkit.Curl(t, "POST", a.URL+"/api/rathole/clients/x/configure", string(body), "Authorization: Bearer "+testkit.Token)
	var got, want any
	answer.Into(t, &got)
	if err := json.Unmarshal([]byte(blocks(t, "json")[0]), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the agent answers %s", answer.Body)
	}
}

// killedMessage is what is said of an engine that was killed.
func killedMessage(t *testing.T, m *testkit.Manager) string {
	t.Helper()
	made, err := create(t, m, "killed", 30010)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscanf(message(made.Conditions, api.ProcessRunning), "rathole runs as process %d", &pid); err != nil || pid <= 1 {
		t.Fatalf("process %d: %v", pid, err)
	}
	// An engine listens a moment before it has said both things that it says at its start, in either order.
	wait.Eventually(t, 5*time.Second, func() error {
		log, err := m.Logs(t.Context(), "killed", client.LogQuery{Lines: 10})
		if err == nil && len(log.Lines) < 2 {
			err = fmt.Errorf("its log is %q", log.Lines)
		}
		return err
	})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var said string
	wait.Eventually(t, 5*time.Second, func() error {
		now, err := m.Get(t.Context(), "killed")
		said = message(now.Conditions, api.ProcessRunning)
		if err == nil && now.Status != api.StatusDown {
			err = fmt.Errorf("it is %s", now.Status)
		}
		return err
	})
	said = strings.ReplaceAll(said, fmt.Sprintf("Listening at %s:%d", m.Bind, made.RatholePort), "Start watching the config")
	return regexp.MustCompile(`next try in \d+ s$`).ReplaceAllString(said, "next try in 8 s") // the pause has jitter
}

// TestExhaustedLimits compares the codes of README.md's table with those that are answered, and its message with what is
// said when a service's descriptors are spent.
func TestExhaustedLimits(t *testing.T) {
	if !testkit.Alone(t, false) {
		return
	}
	var text string
	for _, s := range readme(t) {
		if s.Title == "Exhausted limits" && len(s.Blocks) == 1 {
			text = strings.TrimSuffix(s.Blocks[0].Text, "\n")
		}
	}
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []api.Code{
		api.CodeInotifyExhausted, api.CodeOpenFilesExhausted, api.CodeProcessesExhausted, api.CodeMemoryExhausted,
		api.CodeDiskFull, api.CodeStateReadOnly, api.CodePortsExhausted,
	} {
		if !strings.Contains(string(page), "\n| `"+string(code)+"` |") {
			t.Errorf("README.md has no line about %s", code)
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1024, Max: 1024}); err != nil {
		t.Fatal(err)
	}
	m := testkit.StartManager(t, nil)
	if _, err := create(t, m, "before", 30000); err != nil {
		t.Fatal(err)
	}
	var spent []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		spent = append(spent, f)
	}
	_, err = create(t, m, "refused", 30002)
	for _, f := range spent {
		_ = f.Close()
	}
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != api.CodeOpenFilesExhausted || p.Detail != text {
		t.Errorf("it says %v, README.md shows\n%s", err, text)
	}
}

func message(conditions []api.Condition, kind string) string {
	for _, c := range conditions {
		if c.Type == kind {
			return c.Message
		}
	}
	return ""
}
