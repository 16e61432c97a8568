package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// measure counts and times the answers by route, method and code, as rathole_http_request_duration_seconds. A stream goes on
// for as long as its reader likes: what it took is the time until it began.
func measure(reg prometheus.Registerer, mux *http.ServeMux, next http.Handler) http.Handler {
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "rathole_http_request_duration_seconds",
		Help:    "Time until the answer was written, or a stream began, by route, method and status code; a route with ?wait waits for a status.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"route", "method", "code"})
	reg.MustRegister(durations)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		observe := func(code int) {
			durations.WithLabelValues(route(mux, r), method(r), strconv.Itoa(code)).Observe(time.Since(begin).Seconds())
		}
		rec := &recorder{ResponseWriter: w, code: http.StatusOK, streams: observe}
		next.ServeHTTP(rec, r)
		if !rec.streaming {
			observe(rec.code)
		}
	})
}

// method bounds the label: the caller chooses the word.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete:
		return r.Method
	default:
		return "other"
	}
}

// recorder remembers the status code, and tells of a stream when it begins. Unwrap lets http.ResponseController reach the
// deadlines behind it.
type recorder struct {
	http.ResponseWriter
	code      int
	streaming bool
	streams   func(code int)
}

func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.begin()
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(p []byte) (int, error) {
	r.begin()
	return r.ResponseWriter.Write(p)
}

func (r *recorder) begin() {
	if !r.streaming && r.Header().Get("Content-Type") == StreamType {
		r.streaming = true
		r.streams(r.code)
	}
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
