package testkit

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// Answer is a raw HTTP answer.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Curl sends what curl would: data goes under a Content-Type that says that it is a form. headers are "Name: value".
func Curl(t testing.TB, method, url, data string, headers ...string) Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if data != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{resp.StatusCode, resp.Header, string(body)}
}

// Into decodes the answer's JSON.
func (a Answer) Into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.Body), v); err != nil {
		t.Fatalf("%d %s: %v", a.Status, a.Body, err)
	}
}

// MustBe checks that an answer is an error of ours, and returns it.
func (a Answer) MustBe(t testing.TB, status int, code api.Code) api.Problem {
	t.Helper()
	var p api.Problem
	a.Into(t, &p)
	if a.Status != status || p.Code != code || p.Status != status || a.Header.Get("Content-Type") != api.ProblemContentType {
		t.Errorf("%d %s %s, want %d %s", a.Status, a.Header.Get("Content-Type"), a.Body, status, code)
	}
	return p
}
