package httpapi

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// TestRequestsAreMeasured: a stream counts when it begins, who waits is kept apart, and what callers make up is no label.
func TestRequestsAreMeasured(t *testing.T) {
	t.Parallel()
	var seen string
	a := server(t, io.Discard, &seen, true)
	began, end := make(chan struct{}), make(chan struct{})
	Handle(a, huma.Operation{OperationID: "follow", Method: http.MethodGet, Path: "/follow"}, func(context.Context, *struct{}) (*Answered, error) {
		return Stream(a, func(_ context.Context, send func(Message) error) {
			_ = send(Message{Data: "hello"})
			close(began)
			<-end
		}), nil
	})
	Handle(a, huma.Operation{OperationID: "get", Method: http.MethodGet, Path: "/thing/{id}"}, func(context.Context, *struct {
		ID   string `path:"id"`
		Wait string `query:"wait"`
	},
	) (*struct{}, error) {
		return nil, nil
	})
	const auth = "Authorization: Bearer " + token
	done := make(chan struct{})
	go func() {
		defer close(done)
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/follow", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		a.handler.ServeHTTP(deadlines{httptest.NewRecorder()}, req)
	}()
	<-began
	send(t, a, http.MethodGet, "/thing/7", "", auth)
	send(t, a, http.MethodGet, "/thing/8?wait=healthy", "", auth)
	send(t, a, "BREW", "/coffee", "", auth)
	_, text := send(t, a, http.MethodGet, "/metrics", "", auth)
	for _, want := range []string{
		`method="GET",route="/follow"} 1`, `method="GET",route="/thing/{id}"} 1`, `method="GET",route="/thing/{id}?wait"} 1`,
		`code="404",component="",method="other",route="other"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	close(end)
	<-done
	if _, text := send(t, a, http.MethodGet, "/metrics", "", auth); !strings.Contains(text, `method="GET",route="/follow"} 1`) {
		t.Error("the stream is counted twice")
	}
}

// deadlines is a recorder that takes the deadlines which a stream sets.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetWriteDeadline(time.Time) error { return nil }
func (deadlines) SetReadDeadline(time.Time) error  { return nil }
