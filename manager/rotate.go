package manager

import (
	"context"
	"maps"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// rotate gives every service of an instance a new token. The server takes them at once and no longer knows the old ones: its
// client is shut out until it has the new config. Open TCP connections live on, for rathole keeps the data channels.
// A noise key stays, since another one would restart the engine.
func (m *Manager) rotate(ctx context.Context, id, ifMatch string) (view, error) {
	unlock, err := m.byID.Await(ctx, id)
	if err != nil {
		return view{}, err
	}
	defer unlock()
	existing, err := m.get(id)
	if err != nil {
		return view{}, err
	}
	if err := matches(ifMatch, existing); err != nil {
		return view{}, err
	}
	s := existing.Record.Spec
	s.Secrets.Tokens = maps.Clone(s.Secrets.Tokens)
	for engine := range s.Secrets.Tokens {
		s.Secrets.Tokens[engine] = secret.Random().Reveal()
	}
	draft, err := m.render(s)
	if err != nil {
		return view{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	return m.sup.Update(ctx, id, existing.Record.Revision, draft)
}

func (m *Manager) rotateRoute() {
	type in struct {
		ID      string `path:"id" doc:"The instance's server_id."`
		IfMatch string `header:"If-Match" doc:"Rotate only this revision: the ETag of an earlier answer. A repetition after a lost answer is then refused, not done twice."`
	}
	httpapi.Handle(m.api, huma.Operation{
		OperationID: "rotate-instance", Method: http.MethodPost, Path: api.PathInstance + "/rotate",
		Summary: "Give every service of an instance a new secret; hand the new client config to its agent at once",
	}, func(ctx context.Context, in *in) (*instanceOut, error) {
		v, err := m.rotate(ctx, in.ID, in.IfMatch)
		if err != nil {
			return nil, err
		}
		return m.answer(ctx, http.StatusOK, v, m.watcher.look)
	})
}
