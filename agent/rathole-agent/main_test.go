package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

func TestHelpNamesTheGuidesSettings(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &out, io.Discard, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"RATHOLE_INSTANCE_MANAGER_HOST", "RATHOLE_CLIENT_BINARY", "RATHOLE_ALLOWED_TARGETS", ":8081"} {
		if !strings.Contains(out.String(), name) {
			t.Errorf("--help does not name %s:\n%s", name, out.String())
		}
	}
}

// TestDoctor asks the program about a machine that is well and one that is not.
func TestDoctor(t *testing.T) {
	t.Parallel()
	state := testkit.StateDir(t)
	settings := []string{"doctor", "--listen", "127.0.0.1:0", "--state-dir", state, "--manager-host", "192.0.2.1"}
	var out bytes.Buffer
	if err := run(t.Context(), append(settings, "--client-binary", testkit.Rathole(t)), &out, io.Discard, nil); err != nil || !strings.Contains(out.String(), "192.0.2.1") {
		t.Errorf("%v\n%s", err, out.String())
	}
	out.Reset()
	err := run(t.Context(), append(settings, "--client-binary", filepath.Join(state, "none")), &out, io.Discard, nil)
	if err == nil || !strings.Contains(out.String(), "RATHOLE_CLIENT_BINARY") {
		t.Errorf("without an engine: %v\n%s", err, out.String())
	}
}

func TestStartIsRefusedWithASentence(t *testing.T) {
	t.Parallel()
	for says, args := range map[string][]string{
		"--plain-http":                  {"--listen", "0.0.0.0:0"},
		"RATHOLE_INSTANCE_MANAGER_HOST": {"--manager-host", "vps_1!"},
		"RATHOLE_ALLOWED_TARGETS":       {"--allowed-targets", "10.0.0.0/99"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		args = append([]string{"--listen", "127.0.0.1:0", "--state-dir", t.TempDir()}, args...)
		err := run(ctx, args, io.Discard, io.Discard, func(net.Addr) { cancel() })
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// TestSettingsFromAFile serves with everything in a config file, the token in another.
func TestSettingsFromAFile(t *testing.T) {
	t.Parallel()
	dir := testkit.StateDir(t)
	token, config := filepath.Join(dir, "token.txt"), filepath.Join(dir, "config.toml")
	text := "listen = \"127.0.0.1:0\"\nstate-dir = \"" + dir + "/state\"\ntoken-file = \"" + token + "\"\nmanager-host = \"vps.example.org\"\n" +
		"client-binary = \"" + testkit.Rathole(t) + "\"\nstop-on-exit = true\n"
	for path, text := range map[string]string{token: testkit.Token + "\n", config: text} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	addresses, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"--config", config}, io.Discard, io.Discard, func(a net.Addr) { addresses <- a })
	}()
	select {
	case err := <-done:
		t.Fatalf("it ended: %v", err)
	case address := <-addresses:
		a, err := client.NewAgent(client.Config{URL: "http://" + address.String(), Token: secret.New(testkit.Token)})
		if err != nil {
			t.Fatal(err)
		}
		wait.Eventually(t, 10*time.Second, func() error { return a.Ready(t.Context()) })
		if _, err := a.List(t.Context()); err != nil {
			t.Errorf("with the file's token: %v", err)
		}
		health, err := a.Health(t.Context())
		if err != nil || health.Service != "rathole-agent" {
			t.Errorf("health: %v %+v", err, health)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
