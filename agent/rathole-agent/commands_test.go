package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/command"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
)

// TestCommands types each command beside a running agent whose client finds no server.
func TestCommands(t *testing.T) {
	t.Parallel()
	a, host := testkit.StartAgent(t, nil), testkit.Address(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(testkit.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	types := func(args ...string) (stdout, stderr string, code int) {
		t.Helper()
		var out, errs bytes.Buffer
		err := run(t.Context(), append(args, "--listen", a.Addr.String(), "--token-file", token), &out, &errs, nil)
		if err != nil {
			fmt.Fprintln(&errs, err)
		}
		return out.String(), errs.String(), command.ExitCode(err)
	}
	mustMatch := func(code int, pattern string, args ...string) {
		t.Helper()
		out, errs, got := types(args...)
		if got != code || !regexp.MustCompile(`(?s)^`+pattern+`$`).MatchString(out+errs) {
			t.Errorf("%v: exit code %d\n%s%s\nwant %d and\n%s", args, got, out, errs, code, pattern)
		}
	}
	mustMatch(0, `ID  STATUS  SERVER  SERVICES  REASON  MESSAGE\n`, "list")
	config := fmt.Sprintf("[client]\nremote_addr = \"%[1]s:9999\"\n[client.services.game_tcp]\ntype = \"tcp\"\ntoken = \"x\"\nlocal_addr = \"%[1]s:30000\"\n", host)
	if _, err := a.Configure(t.Context(), "srv-10", config, false); err != nil {
		t.Fatal(err)
	}
	server := regexp.QuoteMeta(host.String()) + ":9999"
	mustMatch(0, `ID      STATUS  SERVER +SERVICES  REASON         MESSAGE\nsrv-10  down    `+server+`  game_tcp  not_connected  not connected to `+server+`.*\n`, "list")
	mustMatch(0, `srv-10\n`, "list", "-o", "id", "--status", "down", "--prefix", "srv")
	mustMatch(0, ``, "list", "-o", "id", "--status", "healthy")
	mustMatch(0, `client srv-10 is down\n\nserver +`+server+`\nservices +game_tcp\nconfig +[0-9a-f]{64}\ncreated .*\nchanged .*\n\nCONDITION .*Connected +False .*`, "show", "srv-10")
	mustMatch(3, `srv-10 is not healthy after 300ms: it is down, Connected \(not_connected\): .*\n`, "wait", "srv-10", "--timeout", "300ms")
	mustMatch(0, `srv-10 is down\n`, "wait", "srv-10", "--for", "down")
	mustMatch(0, `srv-10 runs as process \d+\n`, "restart", "srv-10")
	mustMatch(0, `.*Starting.*|.*refused.*`, "logs", "srv-10")
	mustMatch(0, `Every engine .*`, "reconcile")
	mustMatch(1, `no client srv-1; there is srv-10\n`, "show", "srv-1")
	mustMatch(2, `.*disabled.*`, "wait", "srv-10", "--for", "disabled")
	out, _, _ := types("list", "-o", "json")
	var list api.ClientList
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Clients) != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	out, _, _ = types("show", "srv-10", "-o", "json")
	var shown api.Client
	if err := json.Unmarshal([]byte(out), &shown); err != nil || shown.ServerID != "srv-10" {
		t.Errorf("%v\n%s", err, out)
	}
	if strings.Contains(out, testkit.Token) {
		t.Error("it prints the token")
	}
}
