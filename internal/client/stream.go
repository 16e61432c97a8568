package client

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"iter"
	"mime"
	"strings"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

const (
	// maxStreamLine bounds one line of a stream, in bytes.
	maxStreamLine = 1 << 20
	// silence is for how long a stream may say nothing: three of the service's heartbeats.
	silence = 45 * time.Second
)

// stream yields the data of each server-sent event of an answer, until ctx ends (which is no error), the service ends the
// stream, or something breaks: the last thing that it yields is then the error. It is asked for once.
func (r *remote) stream(ctx context.Context, c call) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		inner, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		body, err := r.open(inner, c)
		if err == nil {
			watchdog := time.AfterFunc(silence, func() { cancel(errSilent{r.kind, r.url}) })
			defer watchdog.Stop()
			defer func() { _ = body.Close() }()
			goOn := true
			err = readEvents(body, func(data string, heard bool) bool {
				watchdog.Stop() // the caller may take its time
				goOn = !heard || yield(data, nil)
				watchdog.Reset(silence)
				return goOn
			})
			if !goOn {
				return
			}
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		if cause := context.Cause(inner); cause != nil {
			err = cause
		}
		yield("", err)
	}
}

// errSilent is the end of a stream whose service has stopped sending heartbeats.
type errSilent struct{ kind, url string }

func (e errSilent) Error() string {
	return e.kind + " " + e.url + " has fallen silent: is it alive, and the network between whole?"
}

// open asks for a stream and returns its body; what the service refuses is the error that a call would give.
func (r *remote) open(ctx context.Context, c call) (io.ReadCloser, error) {
	req := r.http.R().SetContext(ctx).SetDoNotParseResponse(true).
		SetHeader("Accept", "text/event-stream").SetQueryParamsFromValues(c.query)
	if c.id != "" {
		req.SetPathParam("id", c.id)
	}
	resp, err := req.Execute(c.method, c.path)
	if err != nil {
		return nil, &transportError{kind: r.kind, url: r.url, err: err}
	}
	body := resp.RawBody()
	media, _, _ := mime.ParseMediaType(resp.Header().Get("Content-Type"))
	if resp.IsSuccess() && media == "text/event-stream" {
		return body, nil
	}
	defer func() { _ = body.Close() }()
	text, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	if err != nil {
		return nil, &transportError{kind: r.kind, url: r.url, err: err}
	}
	var p api.Problem
	if media == api.ProblemContentType && json.Unmarshal(text, &p) == nil && p.Code != "" {
		p.Status = resp.StatusCode()
		return nil, r.refused(&p)
	}
	return nil, &HTTPError{Kind: r.kind, Status: resp.StatusCode(), URL: r.shown(resp), Snippet: r.snippet(text)}
}

// readEvents calls each with the data of every server-sent event, and with heard = false for every other line, such as a
// heartbeat, until it returns false or the stream ends.
func readEvents(body io.Reader, each func(data string, heard bool) bool) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxStreamLine)
	var data []string
	for lines.Scan() {
		line := lines.Text()
		text, isData := strings.CutPrefix(line, "data:")
		switch {
		case isData:
			data = append(data, strings.TrimPrefix(text, " "))
		case line == "" && data != nil:
			if !each(strings.Join(data, "\n"), true) {
				return nil
			}
			data = nil
		default:
			if !each("", false) {
				return nil
			}
		}
	}
	return lines.Err()
}
