package client

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
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
	result any  // decoded from the answer's JSON; nil to ignore it
	once   bool // repeating it after a lost answer would do it twice
}

// do sends a call, again if that is safe and promising, and decodes its answer. The status is 0 when none came.
func (r *remote) do(ctx context.Context, c call) (status int, err error) {
	if c.method != http.MethodGet {
		defer r.changed()
	}
	for attempt := 1; ; attempt++ {
		var resp *resty.Response
		resp, err = r.attempt(ctx, c)
		if err == nil {
			return resp.StatusCode(), nil
		}
		if resp != nil {
			status = resp.StatusCode()
		}
		wait, worthwhile := backoff(attempt, resp)
		if c.once || attempt == maxAttempts || !worthwhile || !IsTransient(err) || ctx.Err() != nil {
			return status, err
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return status, err // what the service said is more than "deadline exceeded"
		}
	}
}

func (r *remote) attempt(ctx context.Context, c call) (*resty.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	req := r.http.R().SetContext(ctx).SetHeader("Accept", "application/json").SetHeaders(c.header).SetQueryParamsFromValues(c.query)
	if c.id != "" {
		req.SetPathParam("id", c.id)
	}
	if c.body != nil {
		req.SetHeader("Content-Type", "application/json").SetBody(c.body)
	}
	resp, err := req.Execute(c.method, c.path)
	if err != nil {
		return nil, &transportError{kind: r.kind, url: r.url, err: err}
	}
	if !resp.IsSuccess() {
		return resp, r.refusal(resp)
	}
	if c.result == nil {
		return resp, nil
	}
	if err := json.Unmarshal(resp.Body(), c.result); err != nil {
		return resp, fmt.Errorf("%s %s answered what is not its JSON: %w", r.kind, r.url, err)
	}
	return resp, nil
}

// backoff says how long to wait after the attempt of that number. A service that asks for more than maxBackoff is left
// to the caller.
func backoff(attempt int, resp *resty.Response) (wait time.Duration, worthwhile bool) {
	wait = min(firstBackoff<<(attempt-1), maxBackoff)
	wait = wait/2 + rand.N(wait) // jitter: a thousand resources must not come back at one moment
	if resp == nil {
		return wait, true
	}
	if asked, ok := retryAfter(resp.Header(), time.Now()); ok {
		return max(wait, asked), asked <= maxBackoff
	}
	return wait, true
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
