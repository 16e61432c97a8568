package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// Invalid is the answer to a request whose fields break a rule.
func Invalid(problems ...api.FieldError) *api.Problem {
	p := &api.Problem{
		Status: http.StatusUnprocessableEntity, Code: api.CodeInvalidRequest,
		Detail: "the request is not valid", Errors: problems,
	}
	if len(problems) == 1 {
		p.Detail = problems[0].Message
	}
	return p
}

// NotReady is the answer to what must wait until records are loaded.
func NotReady() *api.Problem {
	return &api.Problem{
		Status: http.StatusServiceUnavailable, Code: api.CodeNotReady,
		Detail: "still loading records and adopting running engines; try again in a moment",
	}
}

func tooLarge() *api.Problem {
	return &api.Problem{
		Status: http.StatusRequestEntityTooLarge, Code: api.CodeBodyTooLarge,
		Detail: fmt.Sprintf("the body is larger than %d bytes", MaxBody),
	}
}

// problem turns an error of a handler into its answer. What nobody foresaw is logged whole and told in general.
func (a *API) problem(op huma.Operation, err error) *api.Problem {
	var p *api.Problem
	if !errors.As(err, &p) {
		p = a.cfg.Problem(err)
	}
	if p == nil && errors.Is(err, context.Canceled) {
		p = &api.Problem{Status: http.StatusServiceUnavailable, Code: api.CodeInternal, Detail: "the caller hung up"}
	}
	if p == nil {
		a.cfg.Log.Error("request failed", "operation", op.OperationID, "error", err)
		p = &api.Problem{
			Status: http.StatusInternalServerError, Code: api.CodeInternal,
			Detail: "something failed inside this service; its log says what",
		}
	}
	return titled(p)
}

// problems is huma's last look at an answer: the errors that huma itself finds (a wrong type, an unknown field) get the
// same form and a code.
func (a *API) problems(_ huma.Context, _ string, v any) (any, error) {
	found, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := &api.Problem{Status: found.Status, Detail: found.Detail, Code: codeOf(found.Status)}
	for _, e := range found.Errors {
		p.Errors = append(p.Errors, api.FieldError{Message: e.Message, Location: e.Location, Value: harmless(e)})
	}
	if len(p.Errors) == 1 && p.Errors[0].Location != "" {
		p.Detail = p.Errors[0].Location + ": " + p.Errors[0].Message
	}
	return titled(p), nil
}

func codeOf(status int) api.Code {
	switch {
	case status == http.StatusRequestEntityTooLarge:
		return api.CodeBodyTooLarge
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		return api.CodeNoSuchRoute
	case status >= http.StatusInternalServerError:
		return api.CodeInternal
	default:
		return api.CodeInvalidRequest
	}
}

// harmless is the value of a wrong field if it may be shown: not a whole body, which holds the token, nor a secret's own
// field.
func harmless(e *huma.ErrorDetail) any {
	location := strings.ToLower(e.Location)
	if location == "body" || strings.HasSuffix(location, "token") || strings.HasSuffix(location, "clientconfig") {
		return nil
	}
	switch v := e.Value.(type) {
	case string:
		if len(v) > 128 {
			return v[:128] + "…"
		}
		return v
	case bool, float64, int, int64, json.Number:
		return v
	default:
		return nil
	}
}

func titled(p *api.Problem) *api.Problem {
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	return p
}

// WriteProblem answers with a problem, for handlers that stand before the routes.
func WriteProblem(w http.ResponseWriter, p *api.Problem) {
	w.Header().Set("Content-Type", api.ProblemContentType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(titled(p)) // the caller has gone
}
