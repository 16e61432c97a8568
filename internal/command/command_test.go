package command

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	for want, err := range map[int]error{
		1: errors.New("any"),
		2: fmt.Errorf("wrapped: %w", &Error{ExitUsage, errors.New("what?")}),
		3: &Error{ExitUnmet, errors.New("not yet")},
	} {
		if got := ExitCode(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
	if ExitCode(nil) != 0 || ExitCode(fmt.Errorf("write: %w", syscall.EPIPE)) != 0 {
		t.Error("an end that was asked for is a failure")
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"0s": -time.Second, "59s": time.Minute - 1, "1m0s": time.Minute, "59m59s": time.Hour - 1, "1h0m": time.Hour, "47h59m": 48*time.Hour - 1,
		"2d0h": 48 * time.Hour, "400d3h": 400*24*time.Hour + 3*time.Hour + time.Minute,
	} {
		if got := age(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	var all []unit
	for _, id := range []string{"minecraft", "srv-10", "srv-11", "srv-20", "valheim"} {
		all = append(all, unit{id: id})
	}
	for id, want := range map[string][]string{
		"srv-1": {"srv-10", "srv-11"}, "SRV-10": {"srv-10", "srv-11", "srv-20"}, "valhiem": {}, "vallheim": {"valheim"}, "mine": {"minecraft"}, "x": {},
		"minecraft-2": {"minecraft"},
	} {
		if got := nearest(id, all); !slices.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%s: %v, want %v", id, got, want)
		}
	}
	for n := range 20 {
		all = append(all, unit{id: fmt.Sprint("many-", n)})
	}
	if got := nearest("many", all); len(got) != nearNamed {
		t.Errorf("%d names: %v", len(got), got)
	}
}

func TestFirstBad(t *testing.T) {
	t.Parallel()
	good, bad, unknown := api.Condition{Status: api.True}, api.Condition{Type: "bad", Status: api.False}, api.Condition{Type: "unknown", Status: api.Unknown}
	for want, conditions := range map[string][]api.Condition{"": {good}, "bad": {unknown, good, bad}, "unknown": {good, unknown}} {
		if got := firstBad(conditions); got.Type != want {
			t.Errorf("%q, want %q", got.Type, want)
		}
	}
}

// TestPlace derives from the settings where the service is.
func TestPlace(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		":7001": "http://127.0.0.1:7001", "0.0.0.0:7001": "http://127.0.0.1:7001", "[::]:7001": "http://127.0.0.1:7001",
		"[::1]:7001": "http://[::1]:7001", "192.0.2.1:80": "http://192.0.2.1:80", "localhost:7001": "http://localhost:7001",
	} {
		cfg, _, err := Place{Listen: listen}.local()
		if err != nil || cfg.URL != want || !cfg.Direct {
			t.Errorf("%s: %v %+v, want %s", listen, err, cfg, want)
		}
	}
	for listen, says := range map[string]string{"7001": "no address:port", "127.0.0.1:0": "--url"} {
		if _, _, err := (Place{Listen: listen}).local(); ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", listen, err)
		}
	}
	if _, _, err := (Place{Listen: ":1", TLSCert: filepath.Join(t.TempDir(), "none.pem")}).local(); err == nil || !strings.Contains(err.Error(), "none.pem") {
		t.Errorf("a certificate that is not there: %v", err)
	}
	e := &Env{Place: Place{Listen: ":7001"}}
	for says, target := range map[string]Target{"--ca-file goes with --url": {CAFile: "x.pem"}, "http://": {URL: "vps:7001"}} {
		if _, _, err := e.config(target); ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v", target, err)
		}
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	state, empty := t.TempDir(), filepath.Join(t.TempDir(), "empty")
	for path, text := range map[string]string{filepath.Join(state, "token"): "of-the-state\n", filepath.Join(state, "other"): "of-a-file\n", empty: "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	given := secret.New("given")
	for name, tc := range map[string]struct {
		place       Place
		remote      bool
		token, says string
	}{
		"the variable comes first":       {Place{Token: given, TokenFile: filepath.Join(state, "other"), State: state}, false, "given", "RATHOLE_TOKEN"},
		"then the file":                  {Place{TokenFile: filepath.Join(state, "other"), State: state}, false, "of-a-file", "other"},
		"then the state directory":       {Place{State: state}, false, "of-the-state", "token"},
		"which is nobody else's":         {Place{State: state}, true, "", "RATHOLE_TOKEN_FILE"},
		"a file for another":             {Place{TokenFile: filepath.Join(state, "other")}, true, "of-a-file", "other"},
		"nothing":                        {Place{State: t.TempDir()}, false, "", "RATHOLE_STATE_DIR"},
		"an empty file":                  {Place{TokenFile: empty}, false, "", "empty"},
		"none is needed":                 {Place{NoAuth: true, State: state}, false, "", ""},
		"a directory, which is no token": {Place{TokenFile: state}, false, "", "directory"},
	} {
		got := tc.place.findToken(tc.remote)
		if got.secret.Reveal() != tc.token || !strings.Contains(fmt.Sprint(got.place, got.why), tc.says) {
			t.Errorf("%s: %q from %q, %v", name, got.secret.Reveal(), got.place, got.why)
		}
	}
	if os.Geteuid() == 0 {
		t.Log("root reads every file: that this user may not is not tested")
		return
	}
	if err := os.Chmod(filepath.Join(state, "token"), 0); err != nil {
		t.Fatal(err)
	}
	if got := (Place{State: state}).findToken(false); got.why == nil || !strings.Contains(got.why.Error(), "as root") {
		t.Errorf("unreadable: %v", got.why)
	}
}

func TestReconciliationText(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	e := &Env{Stdout: &out}
	err := e.printReconciliation(api.Reconciliation{
		Strangers:   []api.Stranger{{ServerID: "stuck", PID: 3, StartedAt: time.Now()}, {ServerID: "lost", PID: 7, StartedAt: time.Now().Add(-90 * time.Minute)}},
		Quarantined: []api.Quarantined{{ServerID: "torn", Reason: "decode record: unexpected end"}},
		Stopped:     []string{"gone"}, Failed: map[string]string{"stuck": "no such luck"},
	})
	const want = `ID     FOUND              DETAIL
gone   stopped            it had no record
stuck  not stopped        no such luck
lost   no record          process 7, for 1h30m
torn   unreadable record  decode record: unexpected end
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
}
