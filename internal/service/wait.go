package service

import (
	"fmt"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
)

const (
	// maxWait bounds how long a GET may wait. It stays below the server's write timeout and the idle limits of proxies.
	maxWait = 50 * time.Second
	// defaultWait is how long a GET with wait= and no timeout= waits.
	defaultWait = 25 * time.Second
)

// Wait is the parameter that goes with wait= on both services.
type Wait struct {
	Timeout string `query:"timeout" doc:"How long to wait, such as 25s; at most 50s."`
}

// Duration is the timeout, or an *api.Problem.
func (w Wait) Duration() (time.Duration, error) {
	if w.Timeout == "" {
		return defaultWait, nil
	}
	d, err := time.ParseDuration(w.Timeout)
	if err != nil || d < 0 || d > maxWait {
		return 0, httpapi.Invalid(api.FieldError{
			Location: "query.timeout", Message: fmt.Sprintf("timeout must be a duration such as 25s, at most %s", maxWait),
		})
	}
	return d, nil
}
