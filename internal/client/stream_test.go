package client

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

func TestReadEvents(t *testing.T) {
	t.Parallel()
	const stream = "id: 1\nevent: a\ndata: one\ndata:two\n\n:\n\nid: 2\n\ndata: \n\ndata: three\n\ndata: torn"
	for most, want := range map[int][]string{9: {"one\ntwo", "", "three"}, 1: {"one\ntwo"}} {
		var got []string
		err := readEvents(strings.NewReader(stream), func(data string, heard bool) bool {
			if heard {
				got = append(got, data)
			}
			return len(got) < most
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	const event = "id: 7\nevent: exited\ndata: {\"id\":7,\"type\":\"exited\"}\n\n"
	stream := func(text string, broken bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			_, _ = io.WriteString(w, text)
			if r.URL.RawQuery != "follow=true&server_id=a&since=0&type=exited%2Cready" {
				t.Errorf("asked %s", r.URL)
			}
			if broken {
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
		}
	}
	for name, tc := range map[string]struct {
		handle http.HandlerFunc
		want   string // events, then what the error says
	}{
		"ends":        {stream(event+":\n\n"+event, false), "exited exited"},
		"breaks":      {stream(event, true), "unexpected EOF"},
		"rubbish":     {stream("data: {\n\n", false), "unexpected end of JSON input"},
		"refused":     {func(w http.ResponseWriter, _ *http.Request) { problem(w, 429, api.CodeTooManyStreams) }, "too_many_streams"},
		"a stranger":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "not as a rathole-manager does"},
		"not allowed": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "403"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, seen := serve(t, tc.handle)
			var got []string
			for e, err := range m.FollowEvents(t.Context(), EventQuery{After: new(int64), ServerID: "a", Types: []api.EventType{"exited", "ready"}}) {
				got = append(got, string(e.Type))
				if err != nil {
					got[len(got)-1] = err.Error()
				}
			}
			if said := strings.Join(got, " "); !strings.Contains(said, tc.want) {
				t.Errorf("got %q, want %q", said, tc.want)
			}
			if n := seen.Load(); n != 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}
