package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// EventQuery chooses events; its zero value is the newest ones of everything.
type EventQuery struct {
	// After is the id after which events are wanted; nil: the newest ones or, when following, only those to come. 0 is all
	// that are known.
	After *int64
	// Since is the time from which on they are wanted, if After is nil.
	Since time.Time
	// ServerID and Types are the only ones wanted; empty: any.
	ServerID string
	Types    []api.EventType
	// Limit is 1 to 10000; 0 is the service's default of 1000. It does not bound a stream.
	Limit int
}

func (q EventQuery) values() url.Values {
	v := url.Values{}
	switch {
	case q.After != nil:
		v.Set("since", strconv.FormatInt(*q.After, 10))
	case !q.Since.IsZero():
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	if q.ServerID != "" {
		v.Set("server_id", q.ServerID)
	}
	if len(q.Types) > 0 {
		words := make([]string, len(q.Types))
		for i, t := range q.Types {
			words[i] = string(t)
		}
		v.Set("type", strings.Join(words, ","))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// Events reads what happened, oldest first. The Next of the answer is the After of the next call.
func (r *remote) Events(ctx context.Context, q EventQuery) (list api.EventList, err error) {
	_, err = r.do(ctx, call{method: http.MethodGet, path: api.PathEvents, query: q.values(), result: &list, ours: func() bool { return list.Events != nil }})
	return list, err
}

// FollowEvents yields events as they happen, until ctx ends or the service does; the last thing that it yields is the error
// that ended it, if one did. Whoever wants to go on begins again after the id of the last event. An EventGap tells of events
// that are no longer known.
func (r *remote) FollowEvents(ctx context.Context, q EventQuery) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		values := q.values()
		values.Set("follow", "true")
		for data, err := range r.stream(ctx, call{method: http.MethodGet, path: api.PathEvents, query: values}) {
			var e api.Event
			if err == nil {
				err = json.Unmarshal([]byte(data), &e)
			}
			if err != nil {
				yield(api.Event{}, fmt.Errorf("follow the events of the %s %s: %w", r.kind, r.url, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// LogQuery chooses lines of a log.
type LogQuery struct {
	// Lines is 1 to 10000: the newest so many; 0 is the service's default of 100, and -1 none: only those to come.
	Lines int
	// Since is the time from which on lines are wanted; zero: any.
	Since time.Time
}

func (q LogQuery) values() url.Values {
	v := url.Values{}
	if q.Lines != 0 {
		v.Set("lines", strconv.Itoa(max(0, q.Lines)))
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	return v
}

func (r *remote) logs(ctx context.Context, path, id string, q LogQuery) (logs api.Logs, err error) {
	_, err = r.do(ctx, call{method: http.MethodGet, path: path + "/logs", id: id, query: q.values(), result: &logs, ours: is(id, &logs.ServerID)})
	return logs, err
}

func (r *remote) followLogs(ctx context.Context, path, id string, q LogQuery) iter.Seq2[string, error] {
	values := q.values()
	values.Set("follow", "true")
	return r.stream(ctx, call{method: http.MethodGet, path: path + "/logs", id: id, query: values})
}
