package agent_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/agent"
	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// config is a client config for a server that nobody runs.
func config(remote, local string) string {
	return fmt.Sprintf(`[client]
remote_addr = %q

[client.services.game_tcp]
type = "tcp"
token = "a-service-token"
local_addr = %q
`, remote, local)
}

func mustRefuse(t *testing.T, err error, code api.Code, parts ...string) {
	t.Helper()
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	for _, part := range parts {
		if !strings.Contains(p.Error(), part) {
			t.Errorf("%q does not say %q", p.Error(), part)
		}
	}
}

// mustBeConnected checks what is said of a client's connection.
func mustBeConnected(t *testing.T, c api.Client, status api.ConditionStatus, reason string) {
	t.Helper()
	for _, is := range c.Conditions {
		if is.Type == api.Connected && is.Status == status && is.Reason == reason {
			return
		}
	}
	t.Errorf("conditions are %+v, want %s to be %s (%s)", c.Conditions, api.Connected, status, reason)
}

func pid(t *testing.T, a *testkit.Agent, id string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(a.State, "clients", id, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestConfigureAndStop(t *testing.T) {
	t.Parallel()
	a := testkit.StartAgent(t, nil)
	first := config("127.0.0.1:10001", "127.0.0.1:30000")
	got, err := a.Configure(t.Context(), "one", first, false)
	if err != nil || got.Status != api.StatusDown || got.RemoteAddr != "127.0.0.1:10001" || len(got.Services) != 1 {
		t.Fatalf("configure: %v %+v", err, got)
	}
	mustBeConnected(t, got, api.Unknown, "starting") // nobody has looked
	other, err := a.Configure(t.Context(), "other", first, false)
	if err != nil || other.ConfigSHA256 != got.ConfigSHA256 {
		t.Fatalf("configure another: %v", err)
	}
	began, othersBegan := pid(t, a, "one"), pid(t, a, "other")

	again, err := a.Configure(t.Context(), "one", first, false)
	if err != nil || again.UpdatedAt != got.UpdatedAt || pid(t, a, "one") != began {
		t.Errorf("the same config again: %v, changed %v, new process %v", err, again.UpdatedAt != got.UpdatedAt, pid(t, a, "one") != began)
	}
	mustBeConnected(t, again, api.False, "not_connected")
	moved, err := a.Configure(t.Context(), "one", config("127.0.0.1:10002", "127.0.0.1:30000"), false)
	if err != nil || moved.ConfigSHA256 == got.ConfigSHA256 || pid(t, a, "one") == began {
		t.Errorf("a changed config: %v %+v", err, moved)
	}
	if pid(t, a, "other") != othersBegan {
		t.Error("the other client has a new process")
	}
	wait.Eventually(t, 5*time.Second, func() error {
		c, err := a.Get(t.Context(), "one")
		if err == nil && !strings.Contains(fmt.Sprint(c.Conditions), "127.0.0.1:10002: connection refused") {
			err = fmt.Errorf("conditions do not say why: %+v", c.Conditions)
		}
		return err
	})
	if list, err := a.List(t.Context()); err != nil || len(list) != 2 || list[0].ServerID != "one" {
		t.Errorf("list: %v %+v", err, list)
	}
	if logs, err := a.Logs(t.Context(), "one", client.LogQuery{Lines: 10}); err != nil || len(logs.Lines) == 0 {
		t.Errorf("logs: %v %+v", err, logs)
	}
	if _, err := a.Restart(t.Context(), "one"); err != nil {
		t.Errorf("restart: %v", err)
	}
	for _, existed := range []bool{true, false} {
		stopped, err := a.Stop(t.Context(), "one")
		if err != nil || stopped != existed {
			t.Errorf("stop: %v %v, want existed %v", err, stopped, existed)
		}
	}
	if _, err := a.Get(t.Context(), "one"); !client.IsNotFound(err) {
		t.Errorf("get after stop: %v", err)
	}
	for _, gone := range []string{"clients/one", "log/one.log", "log/one.err"} {
		if _, err := os.Lstat(filepath.Join(a.State, gone)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left", gone)
		}
	}
}

// TestBadConfigLeavesWhatRanAlone pushes configs that cannot work over one that runs.
func TestBadConfigLeavesWhatRanAlone(t *testing.T) {
	t.Parallel()
	a := testkit.StartAgent(t, func(c *agent.Config) { c.Managers = []string{"vps.example.org", "127.0.0.1"} })
	good := config("127.0.0.1:10001", "127.0.0.1:30000")
	before, err := a.Configure(t.Context(), "one", good, false)
	if err != nil {
		t.Fatal(err)
	}
	began := pid(t, a, "one")
	for name, tc := range map[string]struct {
		config string
		code   api.Code
		says   []string
	}{
		"no TOML":           {"[client\nremote_addr", api.CodeInvalidConfig, []string{"line 2: expected"}},
		"unknown key":       {strings.Replace(good, "token =", "tokn = 1\ntoken =", 1), api.CodeInvalidConfig, []string{"tokn", "line 6"}},
		"empty token":       {strings.Replace(good, "a-service-token", "", 1), api.CodeInvalidConfig, []string{"token", "line 6"}},
		"no services":       {"[client]\nremote_addr = \"127.0.0.1:1\"\n", api.CodeInvalidConfig, []string{"services"}},
		"a server":          {"[server]\nbind_addr = \"0.0.0.0:1\"\n[server.services]\n", api.CodeInvalidConfig, []string{"client"}},
		"another server":    {config("evil.example.org:10001", "127.0.0.1:30000"), api.CodeRemoteNotAllowed, []string{"evil.example.org", "RATHOLE_INSTANCE_MANAGER_HOST"}},
		"another address":   {config("192.0.2.1:10001", "127.0.0.1:30000"), api.CodeRemoteNotAllowed, []string{"192.0.2.1"}},
		"a proxy":           {good + "[client.transport]\ntype = \"tcp\"\n[client.transport.tcp]\nproxy = \"socks5://127.0.0.1:1080\"\n", api.CodeRemoteNotAllowed, []string{"proxy"}},
		"another machine":   {config("127.0.0.1:10001", "192.0.2.7:30000"), api.CodeTargetNotAllowed, []string{"192.0.2.7", "RATHOLE_ALLOWED_TARGETS"}},
		"metadata":          {config("127.0.0.1:10001", "169.254.169.254:80"), api.CodeTargetNotAllowed, nil},
		"a name":            {config("127.0.0.1:10001", "router.lan:80"), api.CodeTargetNotAllowed, []string{"router.lan"}},
		"tls in this build": {strings.Replace(good, "[client.services", "[client.transport]\ntype = \"tls\"\n[client.transport.tls]\ntrusted_root = \"ca.pem\"\n\n[client.services", 1), api.CodeTransportUnsupported, []string{"tls"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.Configure(t.Context(), "one", tc.config, false)
			mustRefuse(t, err, tc.code, tc.says...)
		})
	}
	now, err := a.Get(t.Context(), "one")
	if err != nil || now.ConfigSHA256 != before.ConfigSHA256 || pid(t, a, "one") != began {
		t.Errorf("what ran was touched: %v %+v", err, now)
	}
	_, err = a.Configure(t.Context(), "../etc", good, false)
	if err == nil {
		t.Error("a path as id was accepted")
	}
	if left, err := os.ReadDir(filepath.Join(a.State, "clients")); err != nil || len(left) != 1 {
		t.Errorf("clients: %v %v", left, err)
	}
}

func TestClientOfAnotherServerIsKept(t *testing.T) {
	t.Parallel()
	a := testkit.StartAgent(t, nil)
	if _, err := a.Configure(t.Context(), "one", config("127.0.0.1:10001", "127.0.0.1:30000"), false); err != nil {
		t.Fatal(err)
	}
	_, err := a.Configure(t.Context(), "one", config("127.0.0.2:10001", "127.0.0.1:30000"), false)
	mustRefuse(t, err, api.CodeClientExists, "127.0.0.1", "replace=true")
	got, err := a.Configure(t.Context(), "one", config("127.0.0.2:10001", "127.0.0.1:30000"), true)
	if err != nil || got.RemoteAddr != "127.0.0.2:10001" {
		t.Errorf("replace: %v %+v", err, got)
	}
}

func TestAllowedTargets(t *testing.T) {
	t.Parallel()
	a := testkit.StartAgent(t, func(c *agent.Config) { c.Targets = []string{"game-container", "192.0.2.0/24"} })
	for i, local := range []string{"game-container:30000", "192.0.2.7:30000", "localhost:30000", "127.9.9.9:1", "[::1]:30000"} {
		if _, err := a.Configure(t.Context(), fmt.Sprint("c", i), config("127.0.0.1:10001", local), false); err != nil {
			t.Errorf("%s: %v", local, err)
		}
	}
}

// TestGuideCommands types the guide's commands, with a token.
func TestGuideCommands(t *testing.T) {
	t.Parallel()
	a := testkit.StartAgent(t, nil)
	send := func(method, path, body string) (int, string) {
		t.Helper()
		got := testkit.Curl(t, method, a.URL+path, body)
		return got.Status, got.Body
	}
	const path = "/api/rathole/clients/srv_user123_abcd1234"
	const body = `{"token": "` + testkit.Token + `", "clientConfig": "[client]\nremote_addr = \"127.0.0.1:10001\"\n[client.services.game_tcp]\ntype = \"tcp\"\ntoken = \"x\"\nlocal_addr = \"127.0.0.1:30000\"\n"}`
	if status, text := send("POST", path+"/configure", body); status != http.StatusOK {
		t.Fatalf("configure: %d %s", status, text)
	}
	if status, text := send("GET", "/api/rathole/clients?token="+testkit.Token, ""); status != http.StatusOK || !strings.Contains(text, `"srv_user123_abcd1234"`) {
		t.Errorf("list: %d %s", status, text)
	}
	// The file that the manager gives, as it is.
	toml := testkit.Curl(t, "POST", a.URL+path+"/configure?token="+testkit.Token, config("127.0.0.1:10001", "127.0.0.1:30000"), "Content-Type: application/toml")
	if toml.Status != http.StatusOK || !strings.Contains(toml.Body, `"remote_addr":"127.0.0.1:10001"`) {
		t.Errorf("configure by TOML: %d %s", toml.Status, toml.Body)
	}
	testkit.Curl(t, "POST", a.URL+path+"/configure", config("127.0.0.1:10001", "127.0.0.1:30000"), "Content-Type: application/toml").
		MustBe(t, http.StatusUnauthorized, api.CodeUnauthorized)
	testkit.Curl(t, "POST", a.URL+path+"/configure?token="+testkit.Token, strings.Repeat("#", 2<<20), "Content-Type: application/toml").
		MustBe(t, http.StatusRequestEntityTooLarge, api.CodeBodyTooLarge)
	if status, text := send("POST", path+"/stop?token="+testkit.Token, ""); status != http.StatusOK {
		t.Errorf("stop: %d %s", status, text)
	}
	for _, route := range []string{"POST " + path + "/configure", "POST " + path + "/stop", "POST " + path + "/restart", "GET " + path, "GET " + path + "/logs", "GET /api/rathole/clients", "GET /metrics", "GET /openapi.json"} {
		method, path, _ := strings.Cut(route, " ")
		if status, text := send(method, path, ""); status != http.StatusUnauthorized || strings.Contains(text, testkit.Token) {
			t.Errorf("%s without a token: %d %s", route, status, text)
		}
	}
	if status, text := send("GET", "/metrics?token="+testkit.Token, ""); status != http.StatusOK || !strings.Contains(text, `rathole_agent_clients{status="down"} 0`) {
		t.Errorf("metrics: %d %s", status, text)
	}
}
