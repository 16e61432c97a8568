package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

const (
	// maxStreams bounds how many callers may follow something at once: each has a connection and a goroutine for hours.
	maxStreams = 64
	// heartbeat is the pause after which a silent stream says that it lives. Proxies cut what is silent for a minute.
	heartbeat = 15 * time.Second
	// streamWrite is how long one write of a stream may take until its caller counts as gone.
	streamWrite = 10 * time.Second
)

// StreamType is the media type of a stream: server-sent events, as browsers' EventSource reads them.
const StreamType = "text/event-stream"

// Message is one server-sent event. Empty fields are left out.
type Message struct {
	ID    string // where a caller that lost the connection goes on: it comes back as Last-Event-ID
	Event string
	Data  string // may have several lines
}

// Answered is the output of a route that answers with a document or with a stream, as its caller asks.
type Answered struct {
	Body func(huma.Context)
}

// Document answers with JSON, at once.
func Document(v any) *Answered {
	return &Answered{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the caller has gone
	}}
}

// Stream answers with what run sends, until run returns. The context of run ends when the caller goes, when it takes
// nothing for a while, and when the service drains. send fails after that.
func Stream(a *API, run func(ctx context.Context, send func(Message) error)) *Answered {
	return &Answered{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		select {
		case a.streams <- struct{}{}:
			defer func() { <-a.streams }()
		default:
			w.Header().Set("Retry-After", "30")
			WriteProblem(w, &api.Problem{
				Status: http.StatusTooManyRequests, Code: api.CodeTooManyStreams,
				Detail: fmt.Sprintf("%d callers follow something already: end one of them, or ask without follow", maxStreams),
			})
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		s := &stream{w: w, rc: http.NewResponseController(w), cancel: cancel}
		s.open()
		var wg sync.WaitGroup
		wg.Go(func() {
			defer cancel()
			s.beat(ctx, a.draining, a.heartbeat)
		})
		run(ctx, s.send)
		cancel()
		wg.Wait()
		s.deadline() // for the end of the answer, which the server writes
	}}
}

// stream writes the messages of one caller.
type stream struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	cancel context.CancelFunc

	mu   sync.Mutex
	last time.Time // of a write
}

func (s *stream) open() {
	h := s.w.Header()
	h.Set("Content-Type", StreamType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep messages back
	_ = s.write("")                  // the headers alone tell the caller that it follows; an error comes again
}

// beat sends a comment whenever nothing was sent for a while, until the stream ends.
func (s *stream) beat(ctx context.Context, draining <-chan struct{}, pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.mu.Lock()
			quiet := time.Since(s.last) >= pause/2
			s.mu.Unlock()
			if quiet && s.write(":\n\n") != nil {
				return
			}
		case <-draining:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (s *stream) send(m Message) error {
	b := &strings.Builder{}
	if m.ID != "" {
		fmt.Fprintf(b, "id: %s\n", m.ID)
	}
	if m.Event != "" {
		fmt.Fprintf(b, "event: %s\n", m.Event)
	}
	for line := range strings.SplitSeq(m.Data, "\n") {
		fmt.Fprintf(b, "data: %s\n", line)
	}
	b.WriteString("\n")
	return s.write(b.String())
}

// write sends text at once. After a failure the connection is no good for anything more.
func (s *stream) write(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline()
	_, err := s.w.Write([]byte(text))
	if err == nil {
		err = s.rc.Flush()
	}
	if err != nil {
		s.cancel()
	}
	s.last = time.Now()
	return err
}

// deadline gives the next write its time: the server's own, for a whole answer, is long over.
func (s *stream) deadline() { _ = s.rc.SetWriteDeadline(time.Now().Add(streamWrite)) }

// WantsStream tells whether a request asks for a stream: by its parameter, or by its Accept header, as EventSource does.
func WantsStream(follow bool, accept string) bool {
	return follow || strings.Contains(accept, StreamType)
}

// Streamed documents an operation that answers with a document of type T or with a stream of what is told in words.
func Streamed[T any](a *API, stream string) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
		"application/json": {Schema: Schema[T](a)},
		StreamType:         {Schema: &huma.Schema{Type: huma.TypeString, Description: stream}},
	}}}
}
