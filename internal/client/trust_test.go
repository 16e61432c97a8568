package client

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// TestTrust dials a service with a certificate of nobody's authority.
func TestTrust(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"ready": true}`)) }))
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own := file("own.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	changed := append([]byte{}, srv.Certificate().Raw...)
	changed[len(changed)-1] ^= 1
	renewed := file("renewed.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: changed})))

	ready := func(certFile string) error {
		t.Helper()
		cfg := Config{URL: srv.URL, Token: secret.New("t")}
		if certFile != "" {
			var err error
			if cfg.TLS, err = TrustOnly(certFile); err != nil {
				t.Fatal(err)
			}
		}
		m, err := NewManager(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return m.Ready(t.Context())
	}
	if err := ready(own); err != nil {
		t.Errorf("its own certificate: %v", err)
	}
	for certFile, says := range map[string]string{renewed: "another certificate than " + renewed, "": "certificate"} {
		if err := ready(certFile); err == nil || !strings.Contains(err.Error(), says) || IsTransient(err) {
			t.Errorf("%q: %v", certFile, err)
		}
	}
	authority, err := TrustAuthority(own)
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewManager(Config{URL: srv.URL, TLS: authority})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Ready(t.Context()); err != nil {
		t.Errorf("its authority: %v", err)
	}
	for _, bad := range []string{file("empty.pem", ""), filepath.Join(dir, "none.pem")} {
		_, only := TrustOnly(bad)
		_, ca := TrustAuthority(bad)
		if err := errors.Join(only, ca); only == nil || ca == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
