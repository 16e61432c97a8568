package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

const token = "the-api-token"

type echo struct {
	Body struct {
		Token string `json:"token,omitempty"`
		Port  int    `json:"port" minimum:"1"`
	}
}

// server has one route, which fails as its caller asks.
func server(t *testing.T, log io.Writer, seen *string, ready bool) *API {
	t.Helper()
	a := New(Config{
		Title: "test", Version: "1", Token: secret.New(token), Log: slog.New(slog.NewTextHandler(log, nil)),
		Problem: func(error) *api.Problem { return nil },
		Health:  func() api.Health { return api.Health{Features: []string{}} },
		Ready:   func() bool { return ready },
	})
	Handle(a, huma.Operation{OperationID: "echo", Method: http.MethodPost, Path: "/echo"}, func(_ context.Context, in *echo) (*struct{}, error) {
		switch in.Body.Port {
		case 1:
			return nil, errors.New("disk on fire at /secret/path")
		case 2:
			return nil, &api.Problem{Status: http.StatusConflict, Code: api.CodePortInUse, Detail: "taken"}
		}
		return nil, nil
	})
	a.handler = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			*seen = r.RequestURI + " " + r.URL.String()
		})
	}(a.handler)
	return a
}

func send(t *testing.T, h http.Handler, method, target, body string, headers ...string) (int, string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec.Code, rec.Body.String()
}

func TestWaysToShowTheToken(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		target, body, header string
		want                 int
	}{
		"header":                  {"/echo", `{"port": 9}`, "Authorization: Bearer " + token, 204},
		"header, other case":      {"/echo", `{"port": 9}`, "authorization: bearer " + token, 204},
		"own header":              {"/echo", `{"port": 9}`, "X-API-Token: " + token, 204},
		"query":                   {"/echo?token=" + token, `{"port": 9}`, "", 204},
		"body":                    {"/echo", `{"port": 9, "token": "` + token + `"}`, "", 204},
		"nothing":                 {"/echo", `{"port": 9}`, "", 401},
		"wrong":                   {"/echo?token=the-api-toke", `{"port": 9}`, "", 401},
		"empty":                   {"/echo?token=", `{"port": 9}`, "", 401},
		"wrong header beats body": {"/echo", `{"port": 9, "token": "` + token + `"}`, "Authorization: Bearer no", 401},
		"basic":                   {"/echo", `{"port": 9}`, "Authorization: Basic " + token, 401},
		"body that is no object":  {"/echo", `"` + token + `"`, "", 401},
		"body of another type":    {"/echo", `{"token": 5}`, "", 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen string
			code, body := send(t, server(t, io.Discard, &seen, true), "POST", tc.target, tc.body, tc.header)
			if code != tc.want {
				t.Errorf("%d %s, want %d", code, body, tc.want)
			}
			if strings.Contains(seen, token) || strings.Contains(body, token) {
				t.Errorf("the token is still in %q or %q", seen, body)
			}
		})
	}
}

func TestErrorsSayWhatCallersMayKnow(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body   string
		status int
		code   api.Code
		field  string
	}{
		"unforeseen":       {`{"port": 1}`, 500, api.CodeInternal, ""},
		"ours":             {`{"port": 2}`, 409, api.CodePortInUse, ""},
		"below minimum":    {`{"port": 0}`, 422, api.CodeInvalidRequest, "body.port"},
		"missing":          {`{}`, 422, api.CodeInvalidRequest, "body"},
		"unknown field":    {`{"port": 3, "prot": 1}`, 422, api.CodeInvalidRequest, "body.prot"},
		"no JSON":          {`port=3`, 400, api.CodeInvalidRequest, ""},
		"wrong token type": {`{"port": 3, "token": 77123}`, 422, api.CodeInvalidRequest, "body.token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log strings.Builder
			var seen string
			code, body := send(t, server(t, &log, &seen, true), "POST", "/echo", tc.body, "Authorization: Bearer "+token)
			var p api.Problem
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatalf("%d %s: %v", code, body, err)
			}
			if code != tc.status || p.Code != tc.code || p.Title == "" {
				t.Errorf("%d %s, want %d %s", code, body, tc.status, tc.code)
			}
			if tc.field != "" && (len(p.Errors) == 0 || p.Errors[0].Location != tc.field) {
				t.Errorf("no error at %s: %s", tc.field, body)
			}
			if strings.Contains(body, "/secret/path") || strings.Contains(body, "77123") {
				t.Errorf("the answer tells too much: %s", body)
			}
			if tc.status == 500 && !strings.Contains(log.String(), "disk on fire") {
				t.Errorf("the log does not tell the cause: %s", log.String())
			}
		})
	}
}

func TestOpenRoutes(t *testing.T) {
	t.Parallel()
	var seen string
	h := server(t, io.Discard, &seen, false)
	for target, want := range map[string]int{"/health": 200, "/ready": 503, "/health/": 401, "//health": 401, "/metrics": 401, "/openapi.json": 401, "/": 401} {
		if code, body := send(t, h, "GET", target, ""); code != want {
			t.Errorf("GET %s: %d %s, want %d", target, code, body, want)
		}
	}
	// Before it is ready, a service does not know what it has.
	code, body := send(t, h, "POST", "/echo", `{"port": 9}`, "Authorization: Bearer "+token)
	if code != 503 || !strings.Contains(body, string(api.CodeNotReady)) {
		t.Errorf("before ready: %d %s", code, body)
	}
}

func TestClearTextOnlyWhereAllowed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		l    Listener
		want bool
	}{
		"loopback":            {Listener{Address: "127.0.0.1:0"}, true},
		"every address":       {Listener{Address: ":0"}, false},
		"every IPv4 address":  {Listener{Address: "0.0.0.0:0"}, false},
		"allowed":             {Listener{Address: "127.0.0.1:0", PlainHTTP: true}, true},
		"half a certificate":  {Listener{Address: "127.0.0.1:0", CertFile: "x"}, false},
		"missing certificate": {Listener{Address: "127.0.0.1:0", CertFile: "x", KeyFile: "y"}, false},
	} {
		ln, err := tc.l.Open(t.Context())
		if (err == nil) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			_ = ln.Close()
		}
	}
}
