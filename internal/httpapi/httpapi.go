// Package httpapi is what the HTTP servers of the manager and the agent share: authentication, problem answers, request
// metrics, and a server that starts and stops cleanly.
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// MaxBody is the most that a request's body may hold, in bytes. The largest honest one, a client config with a hundred
// services, needs a fortieth.
const MaxBody = 1 << 20

// Config is what an API is made with. Log, Problem, Health and Ready are required.
type Config struct {
	Title   string // of the OpenAPI document
	Version string
	Token   secret.String // empty: no authentication
	Log     *slog.Logger
	// Collectors are what /metrics shows beside the requests, the Go runtime and the process. Those of Shared have names that are
	// the same on every service; like the requests they get the label component, of this value.
	Collectors []prometheus.Collector
	Shared     []prometheus.Collector
	Component  string
	// Problem turns an error of a handler into what the caller may know; nil for one that is nobody's business.
	Problem func(error) *api.Problem
	// Health answers /health; Ready answers /ready. Both carry the Alarm, if there is one: an error whose text everybody may
	// read. It may be nil.
	Health func() api.Health
	Ready  func() bool
	Alarm  func() error
}

// API holds the routes of one service. It is an http.Handler.
type API struct {
	huma     huma.API
	cfg      Config
	registry *prometheus.Registry
	handler  http.Handler
	draining chan struct{}
	drain    func()

	streams   chan struct{} // as many as there are
	heartbeat time.Duration
}

// strictCasing makes validation look at the names that are documented, and no others: encoding/json takes LOCAL_PORT for
// local_port, and would so let a second spelling past the rules of the first.
var strictCasing = sync.OnceFunc(func() { huma.ValidateStrictCasing = true }) //nolint:gochecknoglobals // huma's switch is a variable of its package

// New returns an API with the routes that every service has: /health and /ready, which need no token, /metrics and
// /openapi.json, which do.
func New(cfg Config) *API {
	mux := http.NewServeMux()
	hc := huma.DefaultConfig(cfg.Title, cfg.Version)
	hc.CreateHooks = nil // no $schema links in the answers
	hc.DocsPath, hc.SchemasPath = "", ""
	hc.RejectUnknownQueryParameters = true // dryrun=true must not create
	strictCasing()
	hc.Info.License = &huma.License{Name: "MPL-2.0"}
	hc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	hc.Security = []map[string][]string{{"token": {}}}
	a := &API{cfg: cfg, registry: prometheus.NewRegistry(), draining: make(chan struct{}), streams: make(chan struct{}, maxStreams), heartbeat: heartbeat}
	a.drain = sync.OnceFunc(func() { close(a.draining) })
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.registry.MustRegister(cfg.Collectors...)
	shared := prometheus.WrapRegistererWith(prometheus.Labels{"component": cfg.Component}, a.registry)
	shared.MustRegister(cfg.Shared...)
	hc.Transformers = []huma.Transformer{a.problems}
	a.huma = humago.New(mux, hc)
	a.common(mux)

	h := named(mux)
	h = asJSON(h)
	h = a.authenticate(h)
	h = limitBody(h)
	h = measure(shared, mux, h)
	a.handler = h
	return a
}

// Draining is closed when the service is about to end: who waits for something answers with what is.
func (a *API) Draining() <-chan struct{} { return a.draining }

// Drain closes Draining.
func (a *API) Drain() { a.drain() }

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// Schema is the OpenAPI schema of a wire type, for a route whose body huma cannot see.
func Schema[T any](a *API) *huma.Schema {
	return a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
}

// Handle adds a route that answers once the service is ready; before, it does not know what it has, and "there is no such
// instance" would be a lie. What h returns as an error is told to the caller as the Config's Problem puts it.
func Handle[I, O any](a *API, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	handle(a, op, func(ctx context.Context, in *I) (*O, error) {
		if !a.cfg.Ready() {
			return nil, NotReady()
		}
		return h(ctx, in)
	})
}

// HandleEarly is Handle for what can be told before the service is ready.
func HandleEarly[I, O any](a *API, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	handle(a, op, h)
}

func handle[I, O any](a *API, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	op.Errors = nil // every operation answers problems; listing each status would repeat the table of the docs
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, a.problem(op, err)
		}
		return out, nil
	})
}

func (a *API) common(mux *http.ServeMux) {
	open := []map[string][]string{{}}
	type health struct{ Body api.Health }
	type ready struct{ Body api.Ready }
	handle(a, huma.Operation{
		OperationID: "health", Method: http.MethodGet, Path: api.PathHealth, Security: open,
		Summary: "The process answers",
	}, func(context.Context, *struct{}) (*health, error) {
		h := a.cfg.Health()
		h.Alarm = a.alarm()
		return &health{Body: h}, nil
	})
	handle(a, huma.Operation{
		OperationID: "ready", Method: http.MethodGet, Path: api.PathReady, Security: open,
		Summary: "Records are loaded, running engines adopted, changes accepted",
	}, func(context.Context, *struct{}) (*ready, error) {
		if !a.cfg.Ready() {
			return nil, NotReady()
		}
		return &ready{Body: api.Ready{Ready: true, Alarm: a.alarm()}}, nil
	})
	mux.Handle("GET "+api.PathMetrics, promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		WriteProblem(w, &api.Problem{
			Status: http.StatusNotFound, Code: api.CodeNoSuchRoute,
			Detail: "there is no " + r.Method + " " + r.URL.Path + " here; " + api.PathOpenAPI + " lists what there is",
		})
	})
}

func (a *API) alarm() string {
	if a.cfg.Alarm == nil {
		return ""
	}
	if err := a.cfg.Alarm(); err != nil {
		return err.Error()
	}
	return ""
}

// asJSON makes every body JSON, whatever its header says: curl -d calls it a form.
func asJSON(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			r.Header.Set("Content-Type", "application/json")
		}
		next.ServeHTTP(w, r)
	})
}

func limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > MaxBody {
			// Closing says so to a caller that is still sending.
			w.Header().Set("Connection", "close")
			WriteProblem(w, tooLarge())
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
		next.ServeHTTP(w, r)
	})
}

// isOpen tells whether a path needs no token.
func isOpen(path string) bool {
	return path == api.PathHealth || path == api.PathReady
}

// route is the pattern that serves a request, for metrics: a path would make one series per instance.
func route(mux *http.ServeMux, r *http.Request) string {
	_, pattern := mux.Handler(r)
	_, path, ok := strings.Cut(pattern, " ")
	if !ok || path == "" {
		return "other"
	}
	if r.URL.Query().Has("wait") {
		path += "?wait" // it is as slow as what the caller waits for
	}
	return path
}
