package agent

import (
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// TestReach asks managers of both schemes, one that answers an error, and one that is not there, and then again.
func TestReach(t *testing.T) {
	t.Parallel()
	var well atomic.Bool
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != api.PathHealth || r.Header.Get("Authorization") != "" {
			t.Errorf("asked for %s with %v", r.URL, r.Header)
		}
		if !well.Load() {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	plain, secure := httptest.NewServer(answer), httptest.NewTLSServer(answer)
	defer plain.Close()
	defer secure.Close()
	gone := httptest.NewServer(answer)
	gone.Close()
	for name, tc := range map[string]struct {
		server *httptest.Server
		up     bool
		plain  bool
	}{
		"http": {plain, true, true}, "https of an authority that nobody knows": {secure, true, false}, "nobody": {gone, false, false},
	} {
		addr := tc.server.Listener.Addr().(*net.TCPAddr)
		var log bytes.Buffer
		r := newReach(Config{Managers: []string{"127.0.0.1"}, ManagerPort: addr.Port, Log: slog.New(slog.NewTextHandler(&log, nil))})
		ask := func() contact {
			r.ask(t.Context(), "127.0.0.1")
			return r.contacts()["127.0.0.1"]
		}
		well.Store(false)
		if c := ask(); c.up || !c.at.IsZero() {
			t.Errorf("%s: %+v before it is well", name, c)
		}
		well.Store(true)
		c := ask()
		if c.up != tc.up || c.plain != tc.plain || (tc.up && (c.took <= 0 || time.Since(c.at) > time.Minute)) {
			t.Errorf("%s: %+v", name, c)
		}
		well.Store(false)
		if again := ask(); again.up || again.at != c.at {
			t.Errorf("%s: %+v after it fell ill, before %+v", name, again, c)
		}
		_ = ask()
		wanted := 1
		if tc.up {
			wanted = 2 // at first, and after it was well
		}
		if n := strings.Count(log.String(), "does not answer"); n != wanted || !strings.Contains(log.String(), strconv.Itoa(addr.Port)) {
			t.Errorf("%s: told %d times:\n%s", name, n, log.String())
		}
	}
}

// TestReachAsksNobodyUnasked: without a port there is no question, and no metric.
func TestReachAsksNobodyUnasked(t *testing.T) {
	t.Parallel()
	r := newReach(Config{Managers: []string{"127.0.0.1"}})
	r.run(t.Context())
	if got := r.contacts(); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
