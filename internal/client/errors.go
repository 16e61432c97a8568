package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// maxSnippet bounds what an error shows of a stranger's answer, in bytes.
const maxSnippet = 200

// HTTPError is an answer that does not come from the service itself, be it a refusal or a success: from a proxy, or from
// whatever else listens there.
type HTTPError struct {
	Kind    string // "manager" or "agent": whose URL was asked
	Status  int
	URL     string // without user and query
	Snippet string // the beginning of the answer, on one line
}

// Error implements error.
func (e *HTTPError) Error() string {
	s := fmt.Sprintf("%s %s answered %d %s, and not as a rathole-%s does: is the URL right, or a proxy in between?",
		e.Kind, e.URL, e.Status, http.StatusText(e.Status), e.Kind)
	if e.Snippet != "" {
		s += fmt.Sprintf(" It said: %q", e.Snippet)
	}
	return s
}

// transportError is the failure to get an answer at all.
type transportError struct {
	kind, url string
	err       error
}

func (e *transportError) Error() string {
	err := e.err
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the method and the URL, which this error tells better
	}
	switch { // not "cannot be reached": it may well be
	case errors.Is(err, context.Canceled):
		return fmt.Sprintf("%s %s was not waited for: the call was interrupted", e.kind, e.url)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("%s %s did not answer in time", e.kind, e.url)
	}
	return fmt.Sprintf("%s %s cannot be reached: %v", e.kind, e.url, err)
}

func (e *transportError) Unwrap() error { return e.err }

// failure is a call that failed, with what else is known of it.
type failure struct {
	error
	unanswered bool
	after      time.Duration
}

// Error implements error.
func (f *failure) Error() string {
	if f.after > maxBackoff {
		return fmt.Sprintf("%v (it asks to be left alone for %s)", f.error, f.after.Round(time.Second))
	}
	return f.error.Error()
}

func (f *failure) Unwrap() error { return f.error }

// Unanswered tells whether a call that failed may have been carried out all the same: a request went out, and the service's
// own answer to it did not come back.
func Unanswered(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.unanswered
}

// RetryAfter is for how long the service asked to be left alone; 0 if it did not ask.
func RetryAfter(err error) time.Duration {
	var f *failure
	if !errors.As(err, &f) {
		return 0
	}
	return f.after
}

// settled tells of an attempt that its answer is the service's own, or one of somebody who passed nothing on to it: a
// refusal. A gateway's 5xx may follow upon a request that the service has got, and so may what is no answer of ours at all.
func settled(err error) bool {
	var p *api.Problem
	var h *HTTPError
	return errors.As(err, &p) || (errors.As(err, &h) && h.Status >= 300 && h.Status < 500)
}

// refusal turns an answer outside 200-299 into an error.
func (r *remote) refusal(resp *resty.Response) error {
	media, _, _ := mime.ParseMediaType(resp.Header().Get("Content-Type"))
	if media == api.ProblemContentType {
		var p api.Problem
		if json.Unmarshal(resp.Body(), &p) == nil && p.Code != "" {
			p.Status = resp.StatusCode()
			return r.refused(&p)
		}
	}
	return &HTTPError{Kind: r.kind, Status: resp.StatusCode(), URL: r.shown(resp), Snippet: r.snippet(resp.Body())}
}

// stranger turns a success that is none of ours into an error. JSON is not shown: it may be an answer of ours that was cut
// short, with secrets in it.
func (r *remote) stranger(resp *resty.Response) error {
	e := &HTTPError{Kind: r.kind, Status: resp.StatusCode(), URL: r.shown(resp)}
	if media, _, _ := mime.ParseMediaType(resp.Header().Get("Content-Type")); media == "text/html" {
		e.Snippet = r.snippet(resp.Body())
	}
	return e
}

// refused says whose refusal it is.
func (r *remote) refused(p *api.Problem) error { return fmt.Errorf("%s %s: %w", r.kind, r.url, p) }

func (r *remote) shown(resp *resty.Response) string {
	raw := resp.RawResponse
	if raw == nil || raw.Request == nil || raw.Request.URL == nil {
		return r.url
	}
	u := *raw.Request.URL
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// snippet is the beginning of an answer, fit for an error: some servers echo the headers of a request.
func (r *remote) snippet(body []byte) string {
	text := string(body)
	if !r.token.IsZero() {
		text = strings.ReplaceAll(text, r.token.Reveal(), r.token.String())
	}
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxSnippet {
		text = strings.ToValidUTF8(text[:maxSnippet], "") + "…"
	}
	return text
}

// HasCode tells whether err is an answer of one of our services with that code.
func HasCode(err error, code api.Code) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Code == code
}

// IsNotFound tells whether err is our own service's word that the instance or client does not exist. A proxy's 404, or
// that of a service which lacks a route, is not.
func IsNotFound(err error) bool {
	return HasCode(err, api.CodeInstanceNotFound) || HasCode(err, api.CodeClientNotFound)
}

// IsTransient tells whether the same call may succeed a moment later: no connection, a timeout, a service that is loading
// or overloaded, a gateway that has lost its service. A certificate that is not trusted stays so, and an engine that does
// not come up was given its time by the manager.
func IsTransient(err error) bool {
	var p *api.Problem
	if errors.As(err, &p) {
		return transientStatus(p.Status) && p.Code != api.CodeEngineUnavailable || p.Code == api.CodeNotReady
	}
	var h *HTTPError
	if errors.As(err, &h) {
		return transientStatus(h.Status)
	}
	var t *transportError
	if !errors.As(err, &t) || errors.Is(err, context.Canceled) || errors.Is(err, resty.ErrResponseBodyTooLarge) {
		return false
	}
	return !noTLS(err)
}

// noTLS tells of a connection that TLS does not come to terms on; time does not change that. It does change what a proxy says
// that has yet to obtain its certificate: Caddy "internal error", Traefik "unrecognized name".
func noTLS(err error) bool {
	var untrusted *tls.CertificateVerificationError
	var notTLS tls.RecordHeaderError
	var alert *net.OpError // crypto/tls tells of alerts, the other's and its own, by these two operations
	return errors.As(err, &untrusted) || errors.As(err, &notTLS) || errors.Is(err, http.ErrSchemeMismatch) ||
		(errors.As(err, &alert) && (alert.Op == "local error" || (alert.Op == "remote error" && !noCertificateYet(alert.Err))))
}

// noCertificateYet compares texts, since the type of an alert from the other side is crypto/tls's own.
func noCertificateYet(alert error) bool {
	const internalError, unrecognizedName = tls.AlertError(80), tls.AlertError(112) // RFC 8446, 6.2
	return alert.Error() == internalError.Error() || alert.Error() == unrecognizedName.Error()
}

func transientStatus(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}
