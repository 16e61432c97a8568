package httpapi

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// follow serves one stream and opens it n times. The last answer is returned.
func follow(t *testing.T, change func(*API, *httptest.Server), n int, run func(ctx context.Context, send func(Message) error)) *http.Response {
	t.Helper()
	var seen string
	a := server(t, io.Discard, &seen, true)
	a.handler = a.huma.Adapter() // without the part that notes requests in one place
	Handle(a, huma.Operation{OperationID: "follow", Method: http.MethodGet, Path: "/follow"}, func(context.Context, *struct{}) (*Answered, error) {
		return Stream(a, run), nil
	})
	s := httptest.NewUnstartedServer(a)
	if change != nil {
		change(a, s)
	}
	s.Start()
	t.Cleanup(s.Close)
	var last *http.Response
	for range n {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/follow", nil)
		if err != nil {
			t.Fatal(err)
		}
		last, err = http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = last.Body.Close() })
	}
	return last
}

func TestStream(t *testing.T) {
	t.Parallel()
	// The server's own time for an answer is over long before the second message.
	resp := follow(t, func(a *API, s *httptest.Server) {
		a.heartbeat, s.Config.WriteTimeout = 30*time.Millisecond, 50*time.Millisecond
	}, 1, func(ctx context.Context, send func(Message) error) {
		_ = send(Message{ID: "7", Event: "started", Data: "one\ntwo"})
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
		_ = send(Message{Data: "late"})
	})
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.Header.Get("Content-Type") != StreamType {
		t.Fatalf("%s %q: %v", resp.Header.Get("Content-Type"), body, err)
	}
	first, rest, _ := strings.Cut(string(body), ":\n\n")
	if first != "id: 7\nevent: started\ndata: one\ndata: two\n\n" || !strings.HasSuffix(rest, "data: late\n\n") {
		t.Errorf("the stream was %q", body)
	}
}

func TestStreamEndsWithItsService(t *testing.T) {
	t.Parallel()
	var drain func()
	resp := follow(t, func(a *API, _ *httptest.Server) { drain = a.Drain }, 1, func(ctx context.Context, send func(Message) error) {
		_ = send(Message{Data: "hello"})
		<-ctx.Done()
	})
	read := bufio.NewReader(resp.Body)
	if line, err := read.ReadString('\n'); err != nil || line != "data: hello\n" {
		t.Fatalf("%q %v", line, err)
	}
	drain()
	if _, err := io.ReadAll(read); err != nil {
		t.Errorf("the stream did not end cleanly: %v", err)
	}
}

func TestStreamEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	resp := follow(t, nil, 1, func(ctx context.Context, _ func(Message) error) {
		<-ctx.Done()
		close(ended)
	})
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the stream goes on without its caller")
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	run := func(ctx context.Context, _ func(Message) error) { <-ctx.Done() }
	if resp := follow(t, nil, maxStreams, run); resp.StatusCode != http.StatusOK {
		t.Errorf("the last one that may: %s", resp.Status)
	}
	resp := follow(t, nil, maxStreams+1, run)
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusTooManyRequests || !strings.Contains(string(body), "too_many_streams") {
		t.Errorf("one too many: %s %s", resp.Status, body)
	}
}
