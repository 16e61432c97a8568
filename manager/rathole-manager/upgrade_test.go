package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// mustPutEngine makes text the executable of that path, as a package does.
func mustPutEngine(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestUpgrade has a manager whose machine gets another engine, and then one that does not work.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	engine, err := os.ReadFile(testkit.Rathole(t))
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(testkit.StateDir(t), "rathole")
	mustPutEngine(t, binary, engine)
	p := newPerson(t, func(c *manager.Config) { c.Binary = binary })
	p.makes(t, "srv-1", 30000)
	p.makes(t, "web", 30001)

	// What differs from run to run is given another word.
	types := func(args ...string) (out, errs string, code int) {
		t.Helper()
		out, errs, code = p.types(t, args...)
		for pattern, word := range map[string]string{`0\.5\.0-[0-9a-f]{12}`: "BUILD", `/\S+/rathole`: "PATH", ` +\n`: "\n", ` {2,}`: "  "} {
			out, errs = regexp.MustCompile(pattern).ReplaceAllString(out, word), regexp.MustCompile(pattern).ReplaceAllString(errs, word)
		}
		return out, errs, code
	}
	mustSay := func(want string, args ...string) {
		t.Helper()
		if out, errs, code := types(args...); out != want || errs != "" || code != 0 {
			t.Errorf("%v: exit code %d\n%s%s\nwant\n%s", args, code, out, errs, want)
		}
	}
	mustSay("ENGINE  BUILD  DETAIL\nin use  BUILD  starts use PATH\nfound  BUILD  PATH\nrunning  BUILD  2 instances: srv-1, web\n", "upgrade", "--status")
	mustSay("every instance runs rathole BUILD already: nothing to do\n", "upgrade")
	mustPutEngine(t, binary, append(slices.Clone(engine), '.'))
	mustSay("every instance runs rathole BUILD; 2 instances got it now\n", "upgrade")
	mustSay("ENGINE  BUILD  DETAIL\nin use  BUILD  starts use PATH\nfound  BUILD  PATH\nrunning  BUILD  2 instances: srv-1, web\n"+
		"upgrade  BUILD  done: 2 instances done, 0 left\n", "upgrade", "--status")

	mustPutEngine(t, binary, append(slices.Clone(engine), ".."...))
	out, _, code := p.types(t, "upgrade", "-o", "json")
	var e api.Engine
	if err := json.Unmarshal([]byte(out), &e); err != nil || code != 0 || e.Upgrade.State != api.UpgradeDone || len(e.Upgrade.Upgraded) != 2 {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}

	working := filepath.Join(filepath.Dir(binary), "working")
	mustPutEngine(t, working, engine)
	mustPutEngine(t, binary, fmt.Appendf(nil, "#!/bin/sh\ncase $1 in -V|--version) exec %s $1;; esac\necho no such luck >&2\nexit 1\n", working))
	out, errs, code := types("upgrade")
	for _, want := range []string{
		"the upgrade to rathole BUILD stopped at srv-1 (config_refused): ", "no such luck; it has its old engine back",
		"(upgraded, and left so: 0 instances; not touched: 1 instance)",
	} {
		if out != "" || code != 1 || !strings.Contains(errs, want) {
			t.Errorf("exit code %d, want %q\n%s%s", code, want, out, errs)
		}
	}
	out, errs, code = types("upgrade", "--status")
	if code != 0 || errs != "" || !strings.Contains(out, "upgrade  BUILD  the upgrade to rathole BUILD stopped at srv-1") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	out, _, code = p.types(t, "upgrade", "--output=json")
	if err := json.Unmarshal([]byte(out), &e); err != nil || code != 1 || e.Upgrade.State != api.UpgradeFailed || !e.Upgrade.Failed.RolledBack {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
	if err := os.Remove(binary); err != nil {
		t.Fatal(err)
	}
	p.mustHear(t, 1, binary, "upgrade")
}
