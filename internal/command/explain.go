package command

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"github.com/agext/levenshtein"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// explain says of a failure what is wrong, where, and what to do next. id is the unit that was asked for, if any.
func (s *session) explain(ctx context.Context, id string, err error) error {
	var (
		foreign *client.HTTPError
		program = s.env.Program
	)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing answers on %s: is %s running? Start it; or say where it is, by --listen as it has it, or by --url", address(s.url), program)
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%s speaks plain HTTP, or is no %s: leave --tls-cert out as the service does, or give http:// in --url", address(s.url), program)
	case errors.As(err, &foreign) && strings.Contains(foreign.Snippet, "HTTPS server"):
		return fmt.Errorf("%s speaks HTTPS: set RATHOLE_TLS_CERT (--tls-cert) as the service has it, or give https:// in --url", address(s.url))
	case client.HasCode(err, api.CodeUnauthorized) && s.token.why != nil:
		return fmt.Errorf("%s asks for its API token, and there is none to show: %w", s.url, s.token.why)
	case client.HasCode(err, api.CodeUnauthorized) && s.token.place != "":
		return fmt.Errorf("%s refuses the API token from %s: the service has another one; set RATHOLE_TOKEN or RATHOLE_TOKEN_FILE as it has them", s.url, s.token.place)
	case client.IsNotFound(err):
		return s.notFound(ctx, id)
	case client.HasCode(err, api.CodeNoSuchRoute):
		if h, unknown := s.Health(ctx); unknown == nil && h.Service != program {
			return fmt.Errorf("%s is a %s, not a %s", s.url, h.Service, program)
		}
	}
	return err
}

// notFound names those that may have been meant.
func (s *session) notFound(ctx context.Context, id string) error {
	kind := s.env.Kind
	found, _, err := s.list(ctx, "", "")
	switch near := nearest(id, found); {
	case err != nil:
		return fmt.Errorf("no %s %s", kind.Unit, id)
	case len(found) == 0:
		return fmt.Errorf("no %s %s; there are no %s at all", kind.Unit, id, kind.Units)
	case len(near) == 0:
		return fmt.Errorf("no %s %s; `%s list` shows the %d that there are", kind.Unit, id, s.env.Program, len(found))
	case len(near) == 1:
		return fmt.Errorf("no %s %s; there is %s", kind.Unit, id, near[0])
	default:
		return fmt.Errorf("no %s %s; there are %s", kind.Unit, id, strings.Join(near, ", "))
	}
}

// nearNamed bounds how many names are suggested.
const nearNamed = 5

// nearest are the ids that hold the given one or are held by it, and those that differ by a slip of the finger; nearest
// first.
func nearest(id string, all []unit) []string {
	distance := map[string]int{}
	var near []string
	lower := strings.ToLower(id)
	for _, u := range all {
		other := strings.ToLower(u.id)
		d := levenshtein.Distance(lower, other, nil)
		if strings.Contains(other, lower) || strings.Contains(lower, other) || d <= max(1, len(id)/4) {
			distance[u.id] = d
			near = append(near, u.id)
		}
	}
	slices.SortStableFunc(near, func(a, b string) int { return distance[a] - distance[b] })
	return near[:min(len(near), nearNamed)]
}

// address is the host and port of a URL.
func address(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	return rest
}
