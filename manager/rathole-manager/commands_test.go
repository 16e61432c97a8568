package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/command"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// person types commands beside a running manager.
type person struct {
	*testkit.Manager
	settings []string
}

func newPerson(t *testing.T, adjust ...func(*manager.Config)) *person {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(testkit.Token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := testkit.StartManager(t, func(c *manager.Config) {
		c.Control = []api.PortRange{{Start: 10000, End: 10009}}
		for _, f := range adjust {
			f(c)
		}
	})
	return &person{m, []string{"--listen", m.Addr.String(), "--token-file", token}}
}

func (p *person) makes(t *testing.T, id string, port int) {
	t.Helper()
	_, _, err := p.Create(t.Context(), api.CreateInstance{ServerID: id, InstanceSpec: api.InstanceSpec{GamePort: port}}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// types runs a command; the exit code is that of its error, whose text is the last line of what was said on stderr.
func (p *person) types(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	err := run(t.Context(), append(args, p.settings...), &out, &errs, nil)
	if err != nil {
		fmt.Fprintln(&errs, err)
	}
	for _, text := range []string{out.String(), errs.String()} {
		if strings.Contains(text, "\x1b") || strings.Contains(text, testkit.Token) {
			t.Errorf("%v prints colours or the token:\n%s", args, text)
		}
	}
	return out.String(), errs.String(), command.ExitCode(err)
}

func (p *person) mustSee(t *testing.T, want string, args ...string) {
	t.Helper()
	if out, errs, code := p.types(t, args...); out != want || errs != "" || code != 0 {
		t.Errorf("%v: exit code %d\n%s%s\nwant\n%s", args, code, out, errs, want)
	}
}

func (p *person) mustHear(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	if out, errs, got := p.types(t, args...); out != "" || !strings.Contains(errs, want) || got != code {
		t.Errorf("%v: exit code %d\n%s%s\nwant %d and\n%s", args, got, out, errs, code, want)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	p.mustSee(t, "ID  STATUS  CONTROL  PUBLIC  REASON  MESSAGE\n", "list")
	p.makes(t, "srv-1", 30000)
	p.makes(t, "web", 30001)
	p.mustSee(t, `ID     STATUS    CONTROL  PUBLIC         REASON           MESSAGE
srv-1  inactive  10000    30000/tcp+udp  never_connected  no client has connected to control port 10000 yet: hand the client config to an agent, and let the port through the firewall
web    inactive  10001    30001/tcp+udp  never_connected  no client has connected to control port 10001 yet: hand the client config to an agent, and let the port through the firewall
`, "list")
	p.mustSee(t, "srv-1\nweb\n", "list", "-o", "id")
	p.mustSee(t, "srv-1\n", "list", "-o", "id", "--prefix", "srv", "--status", "inactive")
	p.mustSee(t, "", "list", "-o", "id", "--status", "healthy")
	p.mustSee(t, "srv-1\nweb\n", "list", "-o", "id", "--url", p.URL)
	out, _, _ := p.types(t, "list", "-o", "json")
	var list api.InstanceList
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Instances) != 2 || list.Instances[1].ServerID != "web" {
		t.Errorf("%v\n%s", err, out)
	}
	p.mustHear(t, 2, "--status", "list", "--status", "fine")
	p.mustHear(t, 2, "list", "lits")
}

func TestShow(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	p.makes(t, "srv-10", 30000)
	out, _, code := p.types(t, "show", "srv-10")
	// What differs from run to run is given another word.
	for pattern, word := range map[string]string{
		`[0-9a-f]{64}`: "SHA", `[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`: "UID", `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`: "TIME", `process \d+`: "process 7",
		`(True |False|Unknown)( +)\d+s`: "${1}${2}0s", regexp.QuoteMeta(p.Bind.String()): "VPS",
	} {
		out = regexp.MustCompile(pattern).ReplaceAllString(out, word)
	}
	const want = `instance srv-10 is inactive

revision       1 of UID
control port   VPS:10000
service game   VPS:30000/tcp+udp to 127.0.0.1:30000
transport      tcp
client config  SHA
created        TIME
changed        TIME

CONDITION        STATUS   FOR  REASON           MESSAGE
ProcessRunning   True     0s   running          rathole runs as process 7
ClientConnected  False    0s   never_connected  no client has connected to control port 10000 yet: hand the client config to an agent, and let the port through the firewall
PortsListening   False    0s   not_listening    not open: 30000/tcp, 30000/udp
GameReachable    Unknown  0s   not_probed       the game was not asked yet: POST /api/instances/{id}/probe asks it, RATHOLE_PROBE_INTERVAL asks again and again
`
	if out != want || code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	out, _, _ = p.types(t, "show", "srv-10", "-o", "json")
	var shown api.Instance
	if err := json.Unmarshal([]byte(out), &shown); err != nil || shown.ServerID != "srv-10" || len(shown.Conditions) != 4 {
		t.Errorf("%v\n%s", err, out)
	}
	p.mustHear(t, 1, "no instance srv-1; there is srv-10", "show", "srv-1")
	p.makes(t, "srv-11", 30001)
	p.mustHear(t, 1, "no instance srv-1; there are srv-10, srv-11", "show", "srv-1")
	p.mustHear(t, 1, "no instance x; `rathole-manager list` shows the 2 that there are", "restart", "x")
	p.mustHear(t, 2, "<id>", "show")
}

func TestWaitAndRestart(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	p.mustHear(t, 1, "no instance one; there are no instances at all", "wait", "one")
	p.makes(t, "one", 30000)
	p.mustSee(t, "one is inactive\n", "wait", "one", "--for", "inactive")
	p.mustHear(t, 3, "one is not healthy after 50ms: it is inactive, ClientConnected (never_connected): no client", "wait", "one", "--timeout", "50ms")
	p.mustHear(t, 2, "--timeout", "wait", "one", "--timeout", "0s")
	if out, _, code := p.types(t, "restart", "one"); code != 0 || !regexp.MustCompile(`^one runs as process \d+\n$`).MatchString(out) {
		t.Errorf("restart: %d %s", code, out)
	}

	game := testkit.StartGame(t, "awaited", 30000)
	a := testkit.StartAgent(t, nil)
	cfg, err := p.ClientConfig(t.Context(), "one", game.Host.String())
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	var out bytes.Buffer
	go func() {
		waited <- run(t.Context(), append([]string{"wait", "one"}, p.settings...), &out, os.Stderr, nil)
	}()
	if _, err := a.Configure(t.Context(), "one", cfg.Config, false); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil || out.String() != "one is healthy\n" {
		t.Errorf("wait: %v %s", err, out.String())
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	p.makes(t, "one", 30000)
	out, _, code := p.types(t, "logs", "one")
	if code != 0 || !strings.Contains(out, "Listening at") {
		t.Fatalf("logs: %d\n%s", code, out)
	}
	if last, _, _ := p.types(t, "logs", "one", "-n", "1"); !strings.HasSuffix(out, last) || strings.Count(last, "\n") != 1 {
		t.Errorf("the last line of\n%sis not\n%s", out, last)
	}
	p.mustHear(t, 2, "1 to 10000", "logs", "one", "-n", "0")
	p.mustHear(t, 1, "no instance two", "logs", "two")

	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var followed locked
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, append([]string{"logs", "one", "-f"}, p.settings...), &followed, &followed, nil)
	}()
	heard := func(n int) func() error {
		return func() error {
			if got := strings.Count(followed.String(), "Listening at"); got != n {
				return fmt.Errorf("it listened %d times, wanted %d:\n%s", got, n, followed.String())
			}
			return nil
		}
	}
	wait.Eventually(t, 5*time.Second, heard(1))
	if _, err := p.Restart(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 5*time.Second, heard(2))
	interrupt()
	if err := <-done; err != nil {
		t.Errorf("an interrupt is a failure: %v", err)
	}
	// The end of the instance is the end of its log.
	before := len(followed.String())
	go func() {
		done <- run(t.Context(), append([]string{"logs", "one", "-f", "-n", "1"}, p.settings...), &followed, &followed, nil)
	}()
	wait.Eventually(t, 5*time.Second, func() error {
		if len(followed.String()) == before {
			return errors.New("it prints nothing")
		}
		return nil
	})
	if err := p.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || !strings.Contains(followed.String(), "instance one has been removed") {
		t.Errorf("%v\n%s", err, followed.String())
	}
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	p.mustSee(t, "Every engine has its record, and every record can be read.\n", "reconcile")
	p.mustSee(t, "Every engine has its record, and every record can be read.\n", "reconcile", "--accept-strangers")
	out, _, _ := p.types(t, "reconcile", "-o", "json")
	var r api.Reconciliation
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Strangers == nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestReconcileWithStrangers loses a record, and follows it with the program itself.
func TestReconcileWithStrangers(t *testing.T) {
	t.Parallel()
	bind, state := testkit.Address(t), testkit.StateDir(t)
	start := func() *testkit.Manager {
		return testkit.StartManager(t, func(c *manager.Config) { c.Bind, c.State, c.StopOnExit = bind, state, false })
	}
	p := newPerson(t)
	p.Manager = start()
	p.makes(t, "lost", 30000)
	p.Shutdown(t)
	if err := os.Rename(filepath.Join(state, "instances", "lost"), filepath.Join(t.TempDir(), "lost")); err != nil {
		t.Fatal(err)
	}
	p.Manager = start()
	p.settings[1] = p.Addr.String()
	out, errs, code := p.types(t, "reconcile")
	if code != 3 || !strings.Contains(out, "lost  no record  process ") || !strings.Contains(errs, "1 running engine has no record") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	p.mustHear(t, 1, "an engine of this name runs", "show", "lost")
	p.mustSee(t, "ID    FOUND    DETAIL\nlost  stopped  it had no record\n", "reconcile", "--accept-strangers")
}
