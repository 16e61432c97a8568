package provider

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"syscall"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

var (
	errRefused   = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	errUntrusted = &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
)

// How often a fault befalls.
type reach int

const (
	once   reach = iota // one call of the route
	awhile              // more calls of the route than a client makes on its own
	always              // every call of the route
	dead                // every call of the service, from that one on
)

func (r reach) String() string { return [...]string{"once", "a while", "always", "and all of it"}[r] }

// matrixFault is one way in which a call can go wrong.
type matrixFault struct {
	fault
	reaches []reach
	passes  bool // trying again helps, if it does not last
}

// faults are all ways; interrupt ends the operation's context, and gone removes what the service has.
func faults(s *fakeService, interrupt, gone func()) map[string]matrixFault {
	all, some, lasting := []reach{once, always, dead}, []reach{once, always}, []reach{always}
	conflict := fault{status: 409, code: api.CodeClientExists}
	if s.name == "manager" {
		conflict.code = api.CodeInstanceExists
	}
	page := func(status int, kind, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	return map[string]matrixFault{
		"refused":               {fault{dial: errRefused}, []reach{once, awhile, always}, true},
		"untrusted":             {fault{dial: errUntrusted}, lasting, false},
		"cut":                   {fault{cut: true}, []reach{once}, true},
		"lost":                  {fault{lost: true}, all, true},
		"hang":                  {fault{hang: true}, all, true},
		"gone":                  {fault{before: gone}, []reach{once}, false},
		"proxy's 404":           {fault{answer: page(404, "text/html", "<h1>Not Found</h1>")}, lasting, false},
		"conflict":              {fault{status: 409, code: conflict.code}, lasting, false},
		"429":                   {fault{status: 429, code: "slow_down", retry: "1"}, some, true},
		"429 for an hour":       {fault{status: 429, code: "slow_down", retry: "3600"}, lasting, false},
		"internal":              {fault{status: 500, code: api.CodeInternal}, lasting, false},
		"proxy's 502":           {fault{answer: page(502, "text/html", "<h1>Bad Gateway</h1>")}, []reach{once, awhile, always}, true},
		"loading":               {fault{status: 503, code: api.CodeNotReady}, []reach{once}, true},
		"garbage":               {fault{garbage: true}, lasting, false},
		"stranger's page":       {fault{answer: page(200, "text/html", "<h1>Welcome</h1>")}, []reach{always, dead}, false},
		"stranger's JSON":       {fault{answer: page(200, "application/json", `{"status":"ok"}`)}, lasting, false},
		"interrupted":           {fault{before: interrupt, hang: true}, []reach{once}, false},
		"interrupted when done": {fault{after: interrupt, lost: true}, []reach{once}, false},
	}
}
