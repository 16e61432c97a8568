package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// TestWhereTheServiceIs goes wrong in each way there is.
func TestWhereTheServiceIs(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("not-the-token-at-all"), 0o600); err != nil {
		t.Fatal(err)
	}
	here := p.Addr.String()
	for want, settings := range map[string][]string{
		"nothing answers on " + closed + ": is rathole-manager running?":                {"--listen", closed},
		"refuses the API token from " + wrong:                                           {"--listen", here, "--token-file", wrong},
		"RATHOLE_TOKEN is not set and there is no " + p.State + "/token":                {"--listen", here, "--state-dir", p.State},
		"none to show: RATHOLE_TOKEN and RATHOLE_TOKEN_FILE (--token-file) are not set": {"--url", p.URL},
		"speaks plain HTTP":                      {"--url", "https://" + here},
		"--url: it is not a URL such as http://": {"--url", here},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), append([]string{"list"}, settings...), &out, &out, nil); err == nil || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%v: %v, want %s", settings, err, want)
		}
	}
	a := testkit.StartAgent(t, nil)
	p.settings[1] = a.Addr.String()
	p.mustHear(t, 1, "is a rathole-agent, not a rathole-manager", "list")
}

// certificate makes a certificate for a name that is not this machine's, and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"vps.example.org"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestTheProgramAsksItself serves with the built program, over HTTPS with a token that it makes, and asks it with the same
// settings; the exit codes are those of processes.
func TestTheProgramAsksItself(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "rathole-manager")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	cert, key := certificate(t)
	env := []string{
		fmt.Sprintf("RATHOLE_LISTEN=:%d", port), "RATHOLE_BIND_ADDRESS=" + testkit.Address(t).String(), "RATHOLE_STATE_DIR=" + testkit.StateDir(t),
		"RATHOLE_BINARY=" + testkit.Rathole(t), "RATHOLE_STOP_ON_EXIT=true",
	}
	secured := []string{"RATHOLE_TLS_CERT=" + cert, "RATHOLE_TLS_KEY=" + key}
	program := func(more []string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), binary, args...)
		cmd.Env = append(slices.Clone(env), more...)
		return cmd
	}
	serving := program(secured)
	var log locked
	serving.Stdout, serving.Stderr = &log, &log
	if err := serving.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = serving.Process.Signal(os.Interrupt)
		_ = serving.Wait()
	})
	wait.Eventually(t, 20*time.Second, func() error {
		out, err := program(secured, "list").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s\n%s", err, out, log.String())
		}
		return nil
	})
	url := fmt.Sprintf("RATHOLE_URL=https://127.0.0.1:%d", port)
	for _, tc := range []struct {
		code int
		says string
		env  []string
		args []string
	}{
		{0, "Every engine has its record", secured, []string{"reconcile"}},
		{0, "_rathole_manager()", nil, []string{"completion", "bash"}},
		{1, "no instances at all", secured, []string{"show", "one"}},
		{1, "speaks HTTPS", nil, []string{"list"}},
		{1, "certificate", []string{url, "RATHOLE_TOKEN=x"}, []string{"list"}}, // of an unknown authority
		{2, "see rathole-manager --help", nil, []string{"list", "--sort"}},
		{2, "see rathole-manager --help", nil, []string{"--prot-start", "1"}},
	} {
		out, err := program(tc.env, tc.args...).CombinedOutput()
		code := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		}
		if code != tc.code || !strings.Contains(string(out), tc.says) {
			t.Errorf("%v: exit code %d\n%s", tc.args, code, out)
		}
	}
}

// TestCompletion lets bash complete what a person has begun to type.
func TestCompletion(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash here")
	}
	p := newPerson(t)
	dir := t.TempDir()
	stub := "#!/bin/sh\n[ \"$*\" = 'list -o id' ] && printf 'srv-1\\nsrv-2\\n'\n"
	if err := os.WriteFile(filepath.Join(dir, "rathole-manager"), []byte(stub), 0o700); err != nil {
		t.Fatal(err)
	}
	script, _, _ := p.types(t, "completion", "bash")
	for typed, want := range map[string]string{
		"rathole-manager re":                  "restart reconcile",
		"rathole-manager show ":               "srv-1 srv-2",
		"rathole-manager list --st":           "--status --state-dir --stop-on-exit",
		"rathole-manager list --status he":    "healthy",
		"rathole-manager wait --for dis":      "disabled",
		"rathole-manager completion f":        "fish",
		"rathole-manager --plain-http wait s": "srv-1 srv-2",
		"rathole-manager --log-format j":      "json",
	} {
		words := strings.Split(typed, " ")
		cmd := exec.CommandContext(t.Context(), bash, "-c", script+fmt.Sprintf("\nCOMP_WORDS=(\"$@\") COMP_CWORD=%d\n_rathole_manager\necho \"${COMPREPLY[@]}\"", len(words)-1), "bash")
		cmd.Args = append(cmd.Args, words...)
		cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		got := strings.Fields(string(out))
		for _, w := range strings.Fields(want) {
			if !slices.Contains(got, w) {
				t.Errorf("%q is completed by %v (%v), without %s", typed, got, err, w)
			}
		}
		if len(got) > 3 {
			t.Errorf("%q is completed by %v", typed, got)
		}
	}
	for shell, says := range map[string]string{"zsh": "bashcompinit", "fish": "complete -c rathole-manager -n '__fish_seen_subcommand_from list' -l status -x -a 'inactive healthy"} {
		if script, _, code := p.types(t, "completion", shell); code != 0 || !strings.Contains(script, says) {
			t.Errorf("%s: %d\n%s", shell, code, script)
		}
	}
	p.mustHear(t, 2, "bash", "completion", "csh")
}
