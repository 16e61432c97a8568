package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestUnits: the tunnels outlive their service, also for want of memory, and systemd understands all of it.
func TestUnits(t *testing.T) {
	t.Parallel()
	for _, service := range []string{"manager", "agent"} {
		name := "rathole-" + service + ".service"
		text, err := os.ReadFile(filepath.Join("systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{
			"KillMode=process", "OOMPolicy=continue", "Restart=always", "NoNewPrivileges=yes", "ProtectSystem=strict",
			"ExecStart=/usr/local/bin/rathole-" + service, "StateDirectory=rathole-" + service, "StateDirectoryMode=0711",
			"EnvironmentFile=-/etc/rathole-" + service + "/" + service + ".env",
		} {
			if !strings.Contains(string(text), "\n"+line+"\n") {
				t.Errorf("%s lacks %s", name, line)
			}
		}
		// What supervisor.UIDRange.Usable asks for, or all engines run as root.
		bound := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.*)$`).FindStringSubmatch(string(text))
		for _, capability := range []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"} {
			if !slices.Contains(strings.Fields(strings.Join(bound, " ")), capability) {
				t.Errorf("%s lacks %s", name, capability)
			}
		}
		verify(t, name, string(text))
	}
}

// verify has systemd read a unit, with a program that this machine has.
func verify(t *testing.T, name, text string) {
	t.Helper()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("no systemd-analyze: the unit is read by nobody here")
		return
	}
	here, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	text = regexp.MustCompile(`(?m)^ExecStart=.*$`).ReplaceAllString(text, "ExecStart="+here)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify %s: %v\n%s", name, err, out)
	}
}

// TestSysctls: each setting is one that this kernel has, with a value that it takes.
func TestSysctls(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("sysctl.d/60-rathole.conf")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^#?([a-z0-9_.]+) = ([0-9,-]+)$`).FindAllStringSubmatch(string(text), -1)
	if len(found) != 2 {
		t.Fatalf("%q", found)
	}
	for _, setting := range found {
		if _, err := os.Stat("/proc/sys/" + strings.ReplaceAll(setting[1], ".", "/")); err != nil {
			t.Error(err)
		}
	}
}
