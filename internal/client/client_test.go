package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

const token = "s3cret-token"

// serve starts a service that answers with handle, and gives a client of it and the number of requests it has seen.
func serve(t *testing.T, handle http.HandlerFunc) (*Manager, *atomic.Int32) {
	t.Helper()
	seen := &atomic.Int32{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		handle(w, r)
	}))
	t.Cleanup(s.Close)
	m, err := NewManager(Config{URL: s.URL + "/", Token: secret.New(token), UserAgent: "test/1"})
	if err != nil {
		t.Fatal(err)
	}
	return m, seen
}

func problem(w http.ResponseWriter, status int, code api.Code) {
	w.Header().Set("Content-Type", api.ProblemContentType+"; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(api.Problem{Status: status, Code: code, Detail: "because"})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"http://host:8081": true, "https://vps": true, "http://[::1]:1": true, "https://proxy/rathole/": true,
		"": false, "host:8081": false, "ftp://host": false, "http://": false, "http://:80": false, "http:host": false,
		"http://u:p@host": false, "http://host?token=x": false, "http://host?": false, "http://host#x": false, "http://host:x": false,
	} {
		if err := CheckURL(text); (err == nil) != ok {
			t.Errorf("CheckURL(%q) = %v, want ok = %t", text, err, ok)
		}
	}
	if err := CheckURL("http://u:hunter2@ho st"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("an error shows the password or is missing: %v", err)
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	m, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer "+token {
			t.Errorf("Authorization is %q", got)
		}
		if r.Method != "POST" || r.URL.Path != "/api/instances" || r.URL.RawQuery != "dry_run=true&replaces=old" {
			t.Errorf("asked %s %s", r.Method, r.URL)
		}
		if r.Header.Get("Idempotency-Key") != "k" || r.UserAgent() != "test/1" {
			t.Errorf("headers are %v", r.Header)
		}
		var body api.CreateInstance
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.GamePort != 30000 || body.Token != "" {
			t.Errorf("body is %+v, %v", body, err)
		}
		answer(w, http.StatusCreated, api.Instance{ServerID: "a"})
	})
	inst, created, err := m.Create(t.Context(), api.CreateInstance{ServerID: "a", InstanceSpec: api.InstanceSpec{GamePort: 30000}},
		CreateOptions{IdempotencyKey: "k", DryRun: true, Replaces: "old"})
	if err != nil || !created || inst.ServerID != "a" {
		t.Fatalf("got %+v, %t, %v", inst, created, err)
	}
}

func TestOnlyOurNotFoundCounts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		handle   http.HandlerFunc
		notFound bool
	}{
		"instance":      {func(w http.ResponseWriter, _ *http.Request) { problem(w, 404, api.CodeInstanceNotFound) }, true},
		"client":        {func(w http.ResponseWriter, _ *http.Request) { problem(w, 404, api.CodeClientNotFound) }, true},
		"no such route": {func(w http.ResponseWriter, _ *http.Request) { problem(w, 404, api.CodeNoSuchRoute) }, false},
		"no code":       {func(w http.ResponseWriter, _ *http.Request) { problem(w, 404, "") }, false},
		"proxy":         {func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, false},
		"plain JSON": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 404, api.Problem{Code: api.CodeInstanceNotFound})
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, _ := serve(t, tt.handle)
			_, err := m.Get(t.Context(), "a")
			if err == nil || IsNotFound(err) != tt.notFound || IsTransient(err) {
				t.Fatalf("IsNotFound(%v) = %t, IsTransient = %t", err, IsNotFound(err), IsTransient(err))
			}
			if !strings.Contains(err.Error(), m.URL()) {
				t.Errorf("%v does not say who answered", err)
			}
		})
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	create := func(key string) func(context.Context, *Manager) error {
		return func(ctx context.Context, m *Manager) error {
			_, _, err := m.Create(ctx, api.CreateInstance{ServerID: "a"}, CreateOptions{IdempotencyKey: key})
			return err
		}
	}
	get := func(ctx context.Context, m *Manager) error { _, err := m.Get(ctx, "a"); return err }
	lost := func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	refuse := func(status int, code api.Code, after string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			problem(w, status, code)
		}
	}
	tests := map[string]struct {
		call   func(context.Context, *Manager) error
		handle http.HandlerFunc
		seen   int32
	}{
		"read, loading":               {get, refuse(503, api.CodeNotReady, ""), 3},
		"read, bad gateway":           {get, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, 3},
		"read, lost answer":           {get, lost, 3},
		"read, internal error":        {get, refuse(500, api.CodeInternal, ""), 1},
		"read, no engine":             {get, refuse(503, api.CodeEngineUnavailable, ""), 1},
		"read, asked to stay away":    {get, refuse(429, "slow", "3600"), 1},
		"create with a key, lost":     {create("k"), lost, 3},
		"create without a key, lost":  {create(""), lost, 1},
		"create with a key, conflict": {create("k"), refuse(409, api.CodePortInUse, ""), 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, seen := serve(t, tt.handle)
			if err := tt.call(t.Context(), m); err == nil {
				t.Fatal("no error")
			}
			if got := seen.Load(); got != tt.seen {
				t.Errorf("sent %d times, want %d", got, tt.seen)
			}
		})
	}
}

func TestRetryHonoursRetryAfter(t *testing.T) {
	t.Parallel()
	var first time.Time
	m, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if first.IsZero() {
			first = time.Now()
			w.Header().Set("Retry-After", "1")
			problem(w, 429, "slow")
			return
		}
		if waited := time.Since(first); waited < time.Second {
			t.Errorf("came back after %v", waited)
		}
		answer(w, 200, api.Instance{ServerID: "a"})
	})
	if _, err := m.Get(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
}

func TestRedirectCarriesNoToken(t *testing.T) {
	t.Parallel()
	var reached atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer other.Close()
	m, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	_, err := m.Get(t.Context(), "a")
	var h *HTTPError
	if !errors.As(err, &h) || h.Status != http.StatusTemporaryRedirect {
		t.Errorf("got %v, want the redirect as an error", err)
	}
	if reached.Load() {
		t.Error("the redirect was followed")
	}
}

func TestErrorsHoldNoToken(t *testing.T) {
	t.Parallel()
	m, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte("you sent\n" + r.Header.Get("Authorization") + strings.Repeat(" x", 1000)))
	})
	_, err := m.Get(t.Context(), "a")
	var h *HTTPError
	if !errors.As(err, &h) {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), token) || !strings.Contains(err.Error(), "you sent Bearer [redacted]") || len(h.Snippet) > maxSnippet+3 {
		t.Errorf("error is %v", err)
	}
}

func TestAnswersAreLimited(t *testing.T) {
	t.Parallel()
	m, seen := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat(" ", 1<<20))
		for range 6 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	if _, err := m.Get(t.Context(), "a"); err == nil || IsTransient(err) || seen.Load() != 1 {
		t.Errorf("got %v after %d requests", err, seen.Load())
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(nil)
	url := s.URL
	s.Close()
	a, err := NewAgent(Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	err = a.Ready(t.Context())
	if !IsTransient(err) || IsNotFound(err) || !strings.HasPrefix(err.Error(), "agent "+url+" cannot be reached: ") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Ready(ctx); IsTransient(err) || !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call gave %v", err)
	}
}

func TestUntrustedCertificateIsNotTransient(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(nil)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	m, err := NewManager(Config{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Get(t.Context(), "a"); err == nil || IsTransient(err) {
		t.Errorf("got %v", err)
	}
}

func TestReadyWantsOurAnswer(t *testing.T) {
	t.Parallel()
	m, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>welcome</html>")) })
	if err := m.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "not as a rathole-manager does") || !strings.Contains(err.Error(), "welcome") {
		t.Errorf("got %v", err)
	}
}

func TestListReadsAllPages(t *testing.T) {
	t.Parallel()
	m, seen := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("prefix") != "srv" {
			t.Errorf("query is %s", r.URL.RawQuery)
		}
		list := api.InstanceList{Instances: []api.Instance{{ServerID: "srv2"}}}
		if r.URL.Query().Get("after") == "" {
			list = api.InstanceList{Instances: []api.Instance{{ServerID: "srv1"}}, Next: "srv1"}
		}
		answer(w, 200, list)
	})
	list, err := m.List(t.Context(), "srv", "")
	if err != nil || len(list) != 2 || list[1].ServerID != "srv2" || seen.Load() != 2 {
		t.Errorf("got %v, %v after %d requests", list, err, seen.Load())
	}
}
