package provider

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"strings"
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
	passes  bool   // trying again helps, if it does not last
	owner   string // of the port that is taken; such a fault befalls only those who ask for ports
}

func (f matrixFault) befalls(route string) bool {
	route = strings.TrimPrefix(route, "dry ")
	return f.owner == "" || route == createRoute || route == updateRoute
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
	taken := func(owner api.PortOwner) fault {
		return fault{answer: func(w http.ResponseWriter) {
			answerProblem(w, &api.Problem{
				Status: 409, Code: api.CodePortInUse, Detail: "port 30000/tcp is held by " + owner.ServerID + owner.Program + ": choose another port", Owner: &owner,
				Errors: []api.FieldError{{Location: "body.game_port", Message: "in use"}},
			})
		}}
	}
	return map[string]matrixFault{
		"refused":               {fault: fault{dial: errRefused}, reaches: []reach{once, awhile, always}, passes: true},
		"untrusted":             {fault: fault{dial: errUntrusted}, reaches: lasting},
		"cut":                   {fault: fault{cut: true}, reaches: []reach{once}, passes: true},
		"lost":                  {fault: fault{lost: true}, reaches: all, passes: true},
		"hang":                  {fault: fault{hang: true}, reaches: all, passes: true},
		"gone":                  {fault: fault{before: gone}, reaches: []reach{once}},
		"proxy's 404":           {fault: fault{answer: page(404, "text/html", "<h1>Not Found</h1>")}, reaches: lasting},
		"conflict":              {fault: fault{status: 409, code: conflict.code}, reaches: lasting},
		"port of an instance":   {fault: taken(api.PortOwner{Kind: api.OwnerInstance, ServerID: "another"}), reaches: []reach{once, awhile, always}, passes: true, owner: "another"},
		"port of a program":     {fault: taken(api.PortOwner{Kind: api.OwnerProgram, Program: "nginx"}), reaches: lasting, owner: "nginx"},
		"429":                   {fault: fault{status: 429, code: "slow_down", retry: "1"}, reaches: some, passes: true},
		"429 for an hour":       {fault: fault{status: 429, code: "slow_down", retry: "3600"}, reaches: lasting},
		"internal":              {fault: fault{status: 500, code: api.CodeInternal}, reaches: lasting},
		"proxy's 502":           {fault: fault{answer: page(502, "text/html", "<h1>Bad Gateway</h1>")}, reaches: []reach{once, awhile, always}, passes: true},
		"loading":               {fault: fault{status: 503, code: api.CodeNotReady}, reaches: []reach{once}, passes: true},
		"garbage":               {fault: fault{garbage: true}, reaches: lasting},
		"stranger's page":       {fault: fault{answer: page(200, "text/html", "<h1>Welcome</h1>")}, reaches: []reach{always, dead}},
		"stranger's JSON":       {fault: fault{answer: page(200, "application/json", `{"status":"ok"}`)}, reaches: lasting},
		"interrupted":           {fault: fault{before: interrupt, hang: true}, reaches: []reach{once}},
		"interrupted when done": {fault: fault{after: interrupt, lost: true}, reaches: []reach{once}},
	}
}
