package client

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-resty/resty/v2"
)

// Retries bridge a dropped connection or a busy moment; whoever wants to wait longer repeats the call.
const (
	maxAttempts  = 3
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 2 * time.Second
)

// call is one request.
type call struct {
	method string
	path   string // with {id}
	id     string
	query  url.Values
	header map[string]string
	body   any
	result any         // decoded from the answer's JSON; nil where the answer has none
	ours   func() bool // whether result is such an answer as the service gives: whatever else listens there answers 200 too
	once   bool        // repeating it after a lost answer would do it twice
}

// is tells of an answer about one thing that it names the one that was asked for.
func is(id string, answered *string) func() bool {
	return func() bool { return *answered == id }
}

// do sends a call, again if that is safe and promising, and decodes its answer. The status is 0 when none came. The error is
// a *failure.
func (r *remote) do(ctx context.Context, c call) (status int, err error) {
	if c.method != http.MethodGet && !c.query.Has("dry_run") {
		defer r.changed()
	}
	unanswered := false
	for attempt := 1; ; attempt++ {
		resp, sent, err := r.attempt(ctx, c)
		if resp != nil {
			status = resp.StatusCode()
		}
		if err == nil {
			return status, nil
		}
		unanswered = unanswered || (sent && !settled(err))
		failed := &failure{error: err, unanswered: unanswered}
		if resp != nil {
			failed.after, _ = retryAfter(resp.Header(), time.Now())
		}
		wait := max(backoff(attempt), failed.after)
		if c.once || attempt == maxAttempts || !IsTransient(err) || failed.after > maxBackoff || !Sleep(ctx, wait) {
			return status, failed // what the service said is more than "deadline exceeded"
		}
	}
}

// attempt sends a call once. sent is false if it certainly did not leave this machine.
func (r *remote) attempt(ctx context.Context, c call) (resp *resty.Response, sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	req := r.http.R().SetContext(ctx).SetHeader("Accept", "application/json").SetHeaders(c.header).SetQueryParamsFromValues(c.query)
	if c.id != "" {
		req.SetPathParam("id", c.id)
	}
	if c.body != nil {
		req.SetHeader("Content-Type", "application/json").SetBody(c.body)
	}
	resp, err = req.Execute(c.method, c.path)
	sent = connected.Load()
	switch {
	case err != nil:
		return nil, sent, &transportError{kind: r.kind, url: r.url, err: err}
	case !resp.IsSuccess():
		return resp, sent, r.refusal(resp)
	case c.result == nil && resp.StatusCode() != http.StatusNoContent:
		return resp, sent, r.stranger(resp)
	case c.result != nil && (json.Unmarshal(resp.Body(), c.result) != nil || (c.ours != nil && !c.ours())):
		return resp, sent, r.stranger(resp)
	}
	return resp, sent, nil
}

// Sleep waits before a call is tried again; it returns false, at once, when ctx would end first.
func Sleep(ctx context.Context, d time.Duration) bool {
	if until, ok := ctx.Deadline(); ctx.Err() != nil || (ok && time.Until(until) <= d) {
		return false
	}
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// backoff says how long to wait after the attempt of that number.
func backoff(attempt int) time.Duration {
	wait := min(firstBackoff<<(attempt-1), maxBackoff)
	return wait/2 + rand.N(wait) // jitter: a thousand resources must not come back at one moment
}

// retryAfter reads the Retry-After header: seconds or a date.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	text := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}
