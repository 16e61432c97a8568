package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// TestStrangersSuccessIsNotOurs: whatever else answers 200 on the service's port is not believed, by no call.
func TestStrangersSuccessIsNotOurs(t *testing.T) {
	t.Parallel()
	calls := map[string]func(context.Context, *Manager, *Agent) error{
		"create": func(ctx context.Context, m *Manager, _ *Agent) error {
			_, _, err := m.Create(ctx, api.CreateInstance{ServerID: "a"}, CreateOptions{IdempotencyKey: "k"})
			return err
		},
		"get":  func(ctx context.Context, m *Manager, _ *Agent) error { _, err := m.Get(ctx, "a"); return err },
		"list": func(ctx context.Context, m *Manager, _ *Agent) error { _, err := m.List(ctx, "", ""); return err },
		"wait": func(ctx context.Context, m *Manager, _ *Agent) error {
			_, err := m.Wait(ctx, "a", "healthy", 1)
			return err
		},
		"delete": func(ctx context.Context, m *Manager, _ *Agent) error { return m.Delete(ctx, "a") },
		"update": func(ctx context.Context, m *Manager, _ *Agent) error {
			_, err := m.Update(ctx, "a", api.UpdateInstance{}, UpdateOptions{})
			return err
		},
		"client config": func(ctx context.Context, m *Manager, _ *Agent) error {
			_, err := m.ClientConfig(ctx, "a", "")
			return err
		},
		"restart": func(ctx context.Context, m *Manager, _ *Agent) error { _, err := m.Restart(ctx, "a"); return err },
		"rotate":  func(ctx context.Context, m *Manager, _ *Agent) error { _, err := m.Rotate(ctx, "a", ""); return err },
		"probe":   func(ctx context.Context, m *Manager, _ *Agent) error { _, err := m.Probe(ctx, "a"); return err },
		"logs": func(ctx context.Context, m *Manager, _ *Agent) error {
			_, err := m.Logs(ctx, "a", LogQuery{})
			return err
		},
		"ports":   func(ctx context.Context, m *Manager, _ *Agent) error { _, err := m.Ports(ctx); return err },
		"health":  func(ctx context.Context, m *Manager, _ *Agent) error { _, err := m.Health(ctx); return err },
		"ready":   func(ctx context.Context, m *Manager, _ *Agent) error { return m.Ready(ctx) },
		"engine":  func(ctx context.Context, m *Manager, _ *Agent) error { _, err := m.Engine(ctx); return err },
		"upgrade": func(ctx context.Context, m *Manager, _ *Agent) error { _, _, err := m.UpgradeEngine(ctx); return err },
		"events": func(ctx context.Context, m *Manager, _ *Agent) error {
			_, err := m.Events(ctx, EventQuery{})
			return err
		},
		"reconciliation": func(ctx context.Context, m *Manager, _ *Agent) error { _, err := m.Reconciliation(ctx); return err },
		"strangers":      func(ctx context.Context, m *Manager, _ *Agent) error { _, err := m.AcceptStrangers(ctx); return err },
		"configure": func(ctx context.Context, _ *Manager, a *Agent) error {
			_, err := a.Configure(ctx, "a", "x", false)
			return err
		},
		"stop":           func(ctx context.Context, _ *Manager, a *Agent) error { _, err := a.Stop(ctx, "a"); return err },
		"get client":     func(ctx context.Context, _ *Manager, a *Agent) error { _, err := a.Get(ctx, "a"); return err },
		"list clients":   func(ctx context.Context, _ *Manager, a *Agent) error { _, err := a.List(ctx); return err },
		"restart client": func(ctx context.Context, _ *Manager, a *Agent) error { _, err := a.Restart(ctx, "a"); return err },
		"wait for client": func(ctx context.Context, _ *Manager, a *Agent) error {
			_, err := a.Wait(ctx, "a", "healthy", 1)
			return err
		},
	}
	for kind, body := range map[string]string{"text/html": "<html>welcome</html>", "application/json": `{"status":"ok","server_id":"b"}`} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		m, err := NewManager(Config{URL: s.URL})
		if err != nil {
			t.Fatal(err)
		}
		a, err := NewAgent(Config{URL: s.URL})
		if err != nil {
			t.Fatal(err)
		}
		for name, do := range calls {
			err := do(t.Context(), m, a)
			var h *HTTPError
			if !errors.As(err, &h) || h.Status != 200 || IsTransient(err) || IsNotFound(err) || !Unanswered(err) {
				t.Errorf("%s answered with %s gave %v (transient %t, unanswered %t)", name, kind, err, IsTransient(err), Unanswered(err))
			}
		}
	}
}

// TestSecretsOfACutAnswerStayHidden: what looks like JSON may be the beginning of our own answer.
func TestSecretsOfACutAnswerStayHidden(t *testing.T) {
	t.Parallel()
	m, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"server_id":"a","config":"token = \"tunnel-hunter2`))
	})
	_, err := m.ClientConfig(t.Context(), "a", "")
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "answered 200") {
		t.Errorf("got %v", err)
	}
}

// TestUnanswered: whoever gives up on a call must know whether it may have been carried out.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	lost := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	loading := func(w http.ResponseWriter, _ *http.Request) { problem(w, 503, api.CodeNotReady) }
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for name, tt := range map[string]struct {
		answers []http.HandlerFunc // the last one for all that follow
		want    bool
	}{
		"lost":                    {[]http.HandlerFunc{lost}, true},
		"lost, then refused":      {[]http.HandlerFunc{lost, loading}, true},
		"refused":                 {[]http.HandlerFunc{loading}, false},
		"a proxy's bad gateway":   {[]http.HandlerFunc{status(502)}, true},
		"a proxy's internal":      {[]http.HandlerFunc{status(500)}, true},
		"a proxy's not found":     {[]http.HandlerFunc{status(404)}, false},
		"a redirect":              {[]http.HandlerFunc{status(307)}, false},
		"a proxy's empty success": {[]http.HandlerFunc{status(200)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var m *Manager
			n := 0
			m, _ = serve(t, func(w http.ResponseWriter, r *http.Request) { // one request at a time
				n++
				tt.answers[min(n, len(tt.answers))-1](w, r)
			})
			_, _, err := m.Create(t.Context(), api.CreateInstance{ServerID: "a"}, CreateOptions{IdempotencyKey: "k"})
			if err == nil || Unanswered(err) != tt.want {
				t.Errorf("Unanswered(%v) = %t", err, Unanswered(err))
			}
		})
	}
	s := httptest.NewServer(nil)
	s.Close()
	m, err := NewManager(Config{URL: s.URL, Token: secret.New(token)})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Delete(t.Context(), "a"); err == nil || Unanswered(err) {
		t.Errorf("a refused connection gave Unanswered(%v)", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Delete(ctx, "a"); err == nil || Unanswered(err) {
		t.Errorf("a call that was cancelled before it began gave Unanswered(%v)", err)
	}
}

// TestLongRetryAfter is told to the caller, who may have the time.
func TestLongRetryAfter(t *testing.T) {
	t.Parallel()
	m, seen := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		problem(w, 429, "slow")
	})
	_, err := m.Get(t.Context(), "a")
	if RetryAfter(err) != time.Hour || seen.Load() != 1 || !IsTransient(err) || !strings.Contains(err.Error(), "asks to be left alone for 1h0m0s") {
		t.Errorf("%v after %d requests asks for %s", err, seen.Load(), RetryAfter(err))
	}
}

// TestPlainHTTPIsNotTransient: a service without TLS, asked by https.
func TestPlainHTTPIsNotTransient(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(nil)
	defer s.Close()
	m, err := NewManager(Config{URL: strings.Replace(s.URL, "http://", "https://", 1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Get(t.Context(), "a"); err == nil || IsTransient(err) {
		t.Errorf("got %v", err)
	}
}
