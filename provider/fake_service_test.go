package provider

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// fault is what befalls calls of one route.
type fault struct {
	before  func()                    // runs first
	after   func()                    // runs when it is done, before it is answered
	dial    error                     // no connection comes about; in a piped fake only
	status  int                       // answer a problem of this status and code instead of doing anything
	code    api.Code                  //
	retry   string                    // with Retry-After
	answer  func(http.ResponseWriter) // somebody else answers, and nothing is done
	cut     bool                      // hang up without doing anything
	lost    bool                      // do it, then hang up instead of answering
	garbage bool                      // do it, then answer no more than half of the body
	hang    bool                      // do nothing until the caller gives up
	times   int                       // how many calls; 0 = all
}

// seenCall is one call that a service was sent, whether it arrived or not.
type seenCall struct {
	service, route string
	at             time.Time
	faulty         bool // a fault befell it
}

// callLog is the calls of all services of a fake, in order.
type callLog struct {
	mu    sync.Mutex
	calls []seenCall
}

func (l *callLog) add(c seenCall) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
}

// since gives the calls after the first n.
func (l *callLog) since(n int) []seenCall {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]seenCall(nil), l.calls[n:]...)
}

// fakeService is one HTTP service with a fault for each route, and a memory of its calls.
type fakeService struct {
	URL  string
	name string
	mux  *http.ServeMux
	log  *callLog

	serving sync.WaitGroup // calls

	mu     sync.Mutex
	faults map[string]*fault // by route, "*" for all
	calls  []string
}

func newFakeService(name string, log *callLog) *fakeService {
	return &fakeService{name: name, mux: http.NewServeMux(), log: log, faults: map[string]*fault{}}
}

// serve answers on a port of this machine.
func (s *fakeService) serve(t *testing.T) {
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
}

// servePipe answers on connections that l hands out.
func (s *fakeService) servePipe(t *testing.T, l net.Listener) {
	server := &http.Server{Handler: s}
	s.URL = "http://" + l.Addr().String()
	s.serving.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		_ = server.Close()
		s.serving.Wait()
	})
}

// fail makes calls of a route, such as "POST /api/instances", fail.
func (s *fakeService) fail(route string, f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[route] = &f
}

func (s *fakeService) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// seen counts the calls whose route begins so.
func (s *fakeService) seen(prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

// route names what a request asks for: the pattern that serves it, with "dry " or "wait " before it.
func (s *fakeService) route(r *http.Request) string {
	_, route := s.mux.Handler(r)
	for _, kind := range []string{"dry_run", "wait"} {
		if r.URL.Query().Has(kind) {
			route = strings.TrimSuffix(kind, "_run") + " " + route
		}
	}
	return route
}

// begin records a call, and gives what befalls it.
func (s *fakeService) begin(route string) fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, route)
	for _, key := range []string{route, "*"} {
		f, ok := s.faults[key]
		if !ok {
			continue
		}
		if f.times == 1 {
			delete(s.faults, key)
		}
		f.times--
		s.log.add(seenCall{s.name, route, time.Now(), true})
		return *f
	}
	s.log.add(seenCall{s.name, route, time.Now(), false})
	return fault{}
}

// dialed tells of a request that no connection comes about for it.
func (s *fakeService) dialed(r *http.Request) error {
	route := s.route(r)
	s.mu.Lock()
	f, ok := s.faults[route]
	if !ok {
		f, ok = s.faults["*"]
	}
	refuse := ok && f.dial != nil
	s.mu.Unlock()
	if !refuse {
		return nil
	}
	return s.begin(route).dial
}

// ServeHTTP implements http.Handler.
func (s *fakeService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.serving.Add(1)
	defer s.serving.Done()
	f := s.begin(s.route(r))
	if f.before != nil {
		f.before()
	}
	switch {
	case f.cut:
		panic(http.ErrAbortHandler)
	case f.hang:
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the caller hangs up
		<-r.Context().Done()
	case f.answer != nil:
		f.answer(w)
	case f.status != 0:
		if f.retry != "" {
			w.Header().Set("Retry-After", f.retry)
		}
		answerProblem(w, &api.Problem{Status: f.status, Code: f.code, Detail: "the fake was told to fail"})
	case r.URL.Path != api.PathReady && r.Header.Get("Authorization") != "Bearer "+fakeToken:
		answerProblem(w, &api.Problem{Status: 401, Code: api.CodeUnauthorized, Detail: "no or wrong token"})
	case f.lost || f.garbage || f.after != nil:
		s.spoil(w, r, f)
	default:
		s.mux.ServeHTTP(w, r)
	}
}

// spoil does what is asked, and spoils the answer.
func (s *fakeService) spoil(w http.ResponseWriter, r *http.Request, f fault) {
	done := httptest.NewRecorder()
	s.mux.ServeHTTP(done, r)
	if f.after != nil {
		f.after()
	}
	if f.lost {
		panic(http.ErrAbortHandler)
	}
	body := done.Body.Bytes()
	if f.garbage {
		body = append(body[:len(body)/2], '?')
	}
	if done.Code == http.StatusNoContent {
		done.Code = http.StatusOK // which has a body
	}
	w.Header().Set("Content-Type", done.Header().Get("Content-Type"))
	w.WriteHeader(done.Code)
	_, _ = w.Write(body)
}

func answerProblem(w http.ResponseWriter, p *api.Problem) {
	w.Header().Set("Content-Type", api.ProblemContentType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
