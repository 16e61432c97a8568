package engine

import (
	"errors"
	"net/http"
	"os"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/limits"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// Problem is what a caller is told when the supervisor could not do what was asked; nil for an error that is nobody's
// business.
func Problem(err error) *api.Problem {
	var f *supervisor.Failure
	switch {
	case errors.As(err, &f):
		if code, found := exhausted(limits.Reason(f.Reason)); found {
			return &api.Problem{Status: http.StatusInsufficientStorage, Code: code, Detail: f.Message}
		}
		return &api.Problem{Status: http.StatusServiceUnavailable, Code: api.CodeEngineUnavailable, Detail: f.Message}
	case errors.Is(err, supervisor.ErrNotReady):
		return httpapi.NotReady()
	case errors.Is(err, supervisor.ErrStranger):
		return &api.Problem{
			Status: http.StatusConflict, Code: api.CodeStrangerRunning,
			Detail: err.Error() + ": put its record back and restart the service, or stop the engine: POST " + api.PathReconcile +
				` {"accept_strangers": true} stops all of its kind, and GET lists them`,
		}
	case errors.Is(err, supervisor.ErrQuarantined):
		return &api.Problem{Status: http.StatusInternalServerError, Code: api.CodeInternal, Detail: err.Error()}
	}
	if trouble, found := limits.This().Explain(err, os.Geteuid()); found {
		code, _ := exhausted(trouble.Reason)
		return &api.Problem{Status: http.StatusInsufficientStorage, Code: code, Detail: trouble.Message}
	}
	return nil
}

// Exhausted tells of an error that is about a limit of the machine, and not about what was asked for.
func Exhausted(err error) bool {
	_, found := limits.This().Explain(err, os.Geteuid())
	return found
}

// exhausted gives the code of a limit of the machine. All are answered 507: the same call fails again until somebody mends
// what the message names.
func exhausted(r limits.Reason) (code api.Code, found bool) {
	switch r {
	case limits.Inotify:
		return api.CodeInotifyExhausted, true
	case limits.OpenFiles:
		return api.CodeOpenFilesExhausted, true
	case limits.Processes:
		return api.CodeProcessesExhausted, true
	case limits.Memory:
		return api.CodeMemoryExhausted, true
	case limits.DiskFull:
		return api.CodeDiskFull, true
	case limits.ReadOnly:
		return api.CodeStateReadOnly, true
	}
	return "", false
}
