package service

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/events"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// History is a service's journal, as it is written by the supervisor and an observer, and read through the API.
type History[S any] struct {
	Journal *events.Journal
	// Observer is what is told of everything that happens; set before the supervisor runs.
	Observer *Observer[S]
	// Metrics count the events.
	Metrics *Metrics
}

// Happened is a supervisor's Event.
func (h *History[S]) Happened(ctx context.Context, e supervisor.Event) {
	by := httpapi.Caller(ctx)
	if by == "" {
		by = api.BySupervisor
	}
	h.Observer.Heard(h.note(api.Event{ServerID: e.ID, Type: api.EventType(e.Type), Reason: e.Reason, Message: e.Message, By: by}))
	if e.ID != "" && e.Type != supervisor.EventRemoved {
		h.Observer.Poke(e.ID)
	}
}

// Tell notes what was seen from outside.
func (h *History[S]) Tell(e api.Event) { h.note(e) }

func (h *History[S]) note(e api.Event) api.Event {
	h.Metrics.Happened(e)
	return h.Journal.Append(e)
}

// Remember has the observer know what earlier runs of the service have told.
func (h *History[S]) Remember() {
	for _, e := range h.Journal.All() {
		h.Observer.Heard(e)
	}
}

// EventsQuery holds the parameters of every list of events. It is exported for huma, which does not see into others.
type EventsQuery struct {
	Since  string   `query:"since" doc:"Only events after this id, or from this time (RFC 3339) on; 0: all that are known. Left out: the newest ones, or with follow only those to come."`
	Type   []string `query:"type" doc:"Only events of these types, separated by commas."`
	Limit  int      `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"At most so many; without effect on a stream."`
	Follow bool     `query:"follow" doc:"Answer with a stream of server-sent events that goes on until the caller leaves."`
	Accept string   `header:"Accept" doc:"text/event-stream is the same as follow=true."`
	Last   string   `header:"Last-Event-ID" doc:"What EventSource sends when it comes back; it takes the place of since."`
}

// Routes adds the routes of the events of all units and of one. get is the error of reading a unit, nil if it exists.
func (h *History[S]) Routes(a *httpapi.API, unitPath, unit string, get func(id string) error) {
	type allIn struct {
		EventsQuery
		ServerID string `query:"server_id" doc:"Only events of this one, also after its end."`
	}
	const stream = "One message for each event: its id, its type as the message's event, and the event as JSON in data. A silent stream has a comment each 15 s."
	httpapi.HandleEarly(a, huma.Operation{
		OperationID: "list-events", Method: http.MethodGet, Path: api.PathEvents,
		Summary: "Read or follow what happened and why", Description: describeEvents(), Responses: httpapi.Streamed[api.EventList](a, stream),
	}, func(_ context.Context, in *allIn) (*httpapi.Answered, error) {
		return h.answer(a, in.EventsQuery, in.ServerID)
	})
	type unitIn struct {
		EventsQuery
		ID string `path:"id" doc:"The server_id."`
	}
	httpapi.Handle(a, huma.Operation{
		OperationID: unit + "-events", Method: http.MethodGet, Path: unitPath + "/events",
		Summary: "Read or follow what happened to one " + unit, Responses: httpapi.Streamed[api.EventList](a, stream),
	}, func(_ context.Context, in *unitIn) (*httpapi.Answered, error) {
		if err := get(in.ID); err != nil {
			return nil, err
		}
		return h.answer(a, in.EventsQuery, in.ID)
	})
}

func (h *History[S]) answer(a *httpapi.API, in EventsQuery, id string) (*httpapi.Answered, error) {
	f := events.Filter{ServerID: id}
	for _, t := range in.Type {
		f.Types = append(f.Types, api.EventType(t))
		if !slices.Contains(api.EventTypes(), api.EventType(t)) {
			return nil, httpapi.Invalid(api.FieldError{Location: "query.type", Message: "there is no such type of event", Value: t})
		}
	}
	follow := httpapi.WantsStream(in.Follow, in.Accept)
	if follow && in.Last != "" {
		in.Since = in.Last
	}
	after, given, err := h.after(in.Since)
	if err != nil {
		return nil, err
	}
	if follow {
		if !given {
			after = h.Journal.Last()
		}
		return httpapi.Stream(a, func(ctx context.Context, send func(httpapi.Message) error) { h.send(ctx, after, f, send) }), nil
	}
	list := api.EventList{}
	if given {
		list.Events, list.Next = h.Journal.Since(after, f, in.Limit)
	} else {
		list.Events, list.Next = h.Journal.Newest(f, in.Limit)
	}
	if list.Events == nil {
		list.Events = []api.Event{}
	}
	return httpapi.Document(list), nil
}

// after is the id that a since means; given is false if it is left out.
func (h *History[S]) after(since string) (id int64, given bool, err error) {
	if since == "" {
		return 0, false, nil
	}
	if id, err := strconv.ParseInt(since, 10, 64); err == nil && id >= 0 {
		return id, true, nil
	}
	at, err := time.Parse(time.RFC3339, since)
	if err != nil {
		return 0, false, httpapi.Invalid(api.FieldError{
			Location: "query.since", Message: "since must be an event's id or a time such as 2026-01-02T15:04:05Z",
		})
	}
	return h.Journal.At(at), true, nil
}

// describeEvents is what the API's description says of events.
func describeEvents() string {
	types := make([]string, 0, len(api.EventTypes()))
	for _, t := range api.EventTypes() {
		types = append(types, string(t))
	}
	return "Types: " + strings.Join(types, ", ") + ". Why an engine is replaced (restarting): " + strings.Join(api.RestartReasons(), ", ") + "."
}

func (h *History[S]) send(ctx context.Context, after int64, f events.Filter, send func(httpapi.Message) error) {
	for e := range h.Journal.Follow(ctx, after, f) {
		text, err := json.Marshal(e)
		if err == nil {
			err = send(httpapi.Message{ID: fmt.Sprint(e.ID), Event: string(e.Type), Data: string(text)})
		}
		if err != nil {
			return
		}
	}
}
