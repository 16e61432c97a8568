package service

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

const (
	// followPeriod is how often a followed log is looked at.
	followPeriod = 200 * time.Millisecond
	// followWindow is how much of it is read at a time, in bytes.
	followWindow = 256 << 10
)

// LogsQuery holds the parameters of a log. It is exported for huma, which does not see into others.
type LogsQuery struct {
	ID     string `path:"id" doc:"The server_id."`
	Lines  int    `query:"lines" minimum:"0" maximum:"10000" default:"100" doc:"The newest so many lines; of those since, if that is given; 0 with follow for those to come only."`
	Since  string `query:"since" doc:"Only lines from a time (RFC 3339) on, or of so long ago, such as 10m."`
	Follow bool   `query:"follow" doc:"Answer with a stream of server-sent events that goes on with the lines to come."`
	Accept string `header:"Accept" doc:"text/event-stream is the same as follow=true."`
}

// LogRoutes adds the route of the log of one unit. path gives the log's file, or the error of reading the unit.
func LogRoutes(a *httpapi.API, unitPath, unit string, path func(id string) (string, error)) {
	const stream = "One message for each line, in data. The stream outlives the engine's restarts, and ends with the "
	httpapi.Handle(a, huma.Operation{
		OperationID: unit + "-logs", Method: http.MethodGet, Path: unitPath + "/logs",
		Summary: "Read or follow an engine's log, without colour codes", Responses: httpapi.Streamed[api.Logs](a, stream+unit+"."),
	}, func(_ context.Context, in *LogsQuery) (*httpapi.Answered, error) {
		file, err := path(in.ID)
		if err != nil {
			return nil, err
		}
		since, err := sinceTime(in.Since, time.Now())
		if err != nil {
			return nil, err
		}
		lines, end, err := rathole.LogSince(file, since, in.Lines)
		if err != nil {
			return nil, err
		}
		if !httpapi.WantsStream(in.Follow, in.Accept) {
			return httpapi.Document(api.Logs{ServerID: in.ID, Lines: append([]string{}, lines...)}), nil
		}
		return httpapi.Stream(a, func(ctx context.Context, send func(httpapi.Message) error) {
			followLog(ctx, lines, end, func() (string, error) { return path(in.ID) }, func(line string) error {
				return send(httpapi.Message{Data: line})
			})
		}), nil
	})
}

// sinceTime is the time that a since means; zero if it is empty.
func sinceTime(since string, now time.Time) (time.Time, error) {
	if since == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(since); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, since)
	if err != nil {
		return at, httpapi.Invalid(api.FieldError{
			Location: "query.since", Message: "since must be a time such as 2026-01-02T15:04:05Z, or a duration such as 10m",
		})
	}
	return at, nil
}

// followLog sends the lines and those that come behind offset, until ctx ends, send fails, or path does: the unit is gone.
func followLog(ctx context.Context, lines []string, offset int64, path func() (string, error), send func(string) error) {
	tick := time.NewTicker(followPeriod)
	defer tick.Stop()
	for {
		for _, line := range lines {
			if ctx.Err() != nil || send(line) != nil {
				return
			}
		}
		if len(lines) == 0 {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		file, err := path()
		if err != nil {
			return
		}
		lines, offset, err = rathole.FollowLog(file, offset, followWindow)
		if err != nil {
			return
		}
	}
}
