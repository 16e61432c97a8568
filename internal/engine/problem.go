package engine

import (
	"errors"
	"net/http"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// Problem is what a caller is told when the supervisor could not do what was asked; nil for an error that is nobody's
// business.
func Problem(err error) *api.Problem {
	var f *supervisor.Failure
	switch {
	case errors.As(err, &f) && f.Reason == ReasonInotifyExhausted:
		return &api.Problem{Status: http.StatusInsufficientStorage, Code: api.CodeInotifyExhausted, Detail: f.Message}
	case errors.As(err, &f):
		return &api.Problem{Status: http.StatusServiceUnavailable, Code: api.CodeEngineUnavailable, Detail: f.Message}
	case errors.Is(err, supervisor.ErrNotReady):
		return httpapi.NotReady()
	case errors.Is(err, supervisor.ErrQuarantined):
		return &api.Problem{Status: http.StatusInternalServerError, Code: api.CodeInternal, Detail: err.Error()}
	default:
		return nil
	}
}
