package client

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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

// TestNoCertificateYet meets a proxy that has yet to obtain its certificate, which passes, and one that wants another TLS,
// which does not.
func TestNoCertificateYet(t *testing.T) {
	t.Parallel()
	none := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }
	failing := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("not yet") }
	for name, tt := range map[string]struct {
		server    *tls.Config
		transient bool
	}{
		"internal error":    {&tls.Config{GetCertificate: failing}, true},
		"unrecognized name": {&tls.Config{GetCertificate: none}, true},
		"protocol version":  {&tls.Config{GetCertificate: none, MinVersion: tls.VersionTLS13}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := tls.Listen("tcp", "127.0.0.1:0", tt.server)
			if err != nil {
				t.Fatal(err)
			}
			srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
			var serving sync.WaitGroup
			serving.Go(func() { _ = srv.Serve(l) })
			t.Cleanup(func() {
				_ = srv.Close()
				serving.Wait()
			})
			m, err := NewManager(Config{URL: "https://" + l.Addr().String(), TLS: &tls.Config{MaxVersion: tls.VersionTLS12}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = m.Get(t.Context(), "a")
			if err == nil || !strings.Contains(err.Error(), name) || IsTransient(err) != tt.transient {
				t.Errorf("transient: %t, %v", IsTransient(err), err)
			}
		})
	}
}
