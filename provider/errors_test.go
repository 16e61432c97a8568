package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

func TestAttributeAt(t *testing.T) {
	t.Parallel()
	services := path.Root("services")
	for location, want := range map[string]path.Path{
		"body.game_port":                  path.Root("game_port"),
		"body.labels":                     path.Root("labels"),
		"body.probe":                      path.Root("probe"),
		"body.services":                   services,
		"body.services.query":             services.AtMapKey("query"),
		"body.services.query.public_port": services.AtMapKey("query").AtName("public_port"),
		"body.services.query.probe":       services.AtMapKey("query").AtName("probe"),
		"body.services.q.protocols[1]":    services.AtMapKey("q").AtName("protocols"),
		"body.services.query.bogus":       services.AtMapKey("query"),
		"body.bogus":                      {},
		"body":                            {},
		"path.id":                         {},
		"":                                {},
	} {
		got, ok := attributeAt(location)
		if ok != !want.Equal(path.Path{}) || !got.Equal(want) {
			t.Errorf("attributeAt(%q) = %s, %t, want %s", location, got, ok, want)
		}
	}
}

func TestFailNamesTheAttribute(t *testing.T) {
	t.Parallel()
	p := &api.Problem{Status: 422, Code: api.CodeInvalidRequest, Detail: "no", Errors: []api.FieldError{{Location: "body.game_port", Message: "bad"}}}
	var diags diag.Diagnostics
	fail(&diags, "Unable to create instance", fmt.Errorf("manager http://x: %w", p))
	at, ok := diags[0].(diag.DiagnosticWithPath)
	if !ok || !at.Path().Equal(path.Root("game_port")) || !strings.HasPrefix(diags[0].Detail(), "Manager http://x: invalid_request: no") {
		t.Errorf("got %v", diags)
	}
}

func TestDrift(t *testing.T) {
	t.Parallel()
	inst := &api.Instance{ClientConfigSHA256: "same"}
	for name, tt := range map[string]struct {
		found observed
		want  []string // beginnings
	}{
		"in sync":                   {observed{agentURL: "u", wanted: true, inst: inst, client: &api.Client{ConfigSHA256: "same"}}, nil},
		"server half only":          {observed{inst: inst}, nil},
		"disabled":                  {observed{agentURL: "u", inst: inst}, nil},
		"another config":            {observed{agentURL: "u", wanted: true, inst: inst, client: &api.Client{ConfigSHA256: "other"}}, []string{"client: u runs client x with another"}},
		"client gone":               {observed{agentURL: "u", wanted: true, inst: inst}, []string{"client: u has no"}},
		"server gone":               {observed{agentURL: "u", wanted: true, client: &api.Client{}}, []string{"server: "}},
		"runs although disabled":    {observed{agentURL: "u", inst: inst, client: &api.Client{}}, []string{"client: u runs client x although"}},
		"agent silent":              {observed{agentURL: "u", wanted: true, inst: inst, silent: true}, []string{"client: as before"}},
		"server gone, agent silent": {observed{agentURL: "u", wanted: true, silent: true}, []string{"server: ", "client: as before"}},
	} {
		tt.found.id = "x"
		before := stringList([]string{"server: as before", "client: as before"})
		var got []string
		for _, e := range tt.found.drift(before).Elements() {
			got = append(got, e.(types.String).ValueString())
		}
		ok := len(got) == len(tt.want)
		for i := range tt.want {
			ok = ok && strings.HasPrefix(got[i], tt.want[i])
		}
		if !ok {
			t.Errorf("%s: drift is %q, want %q", name, got, tt.want)
		}
	}
}

func TestPersistTellsWhatWasSaid(t *testing.T) {
	t.Parallel()
	loading := &api.Problem{Status: 503, Code: api.CodeNotReady, Detail: "still loading"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // longer than the first pause
	defer cancel()
	calls := 0
	err := persist(ctx, func(ctx context.Context) error {
		if calls++; calls == 1 {
			return loading
		}
		<-ctx.Done()
		return fmt.Errorf("manager cannot be reached: %w", ctx.Err())
	})
	if !errors.Is(err, loading) || calls != 2 {
		t.Errorf("after %d calls: %v", calls, err)
	}

	final := &api.Problem{Status: 422, Code: api.CodeInvalidRequest}
	calls = 0
	if err := persist(t.Context(), func(context.Context) error { calls++; return final }); !errors.Is(err, final) || calls != 1 {
		t.Errorf("a final error was tried %d times: %v", calls, err)
	}
}

func TestPortMoves(t *testing.T) {
	t.Parallel()
	by := func(kind string) error {
		return &api.Problem{Status: 409, Code: api.CodePortInUse, Owner: &api.PortOwner{Kind: kind}}
	}
	if moves := portMoves(time.Minute); !moves(by(api.OwnerInstance)) || moves(by(api.OwnerProgram)) || moves(&api.Problem{Code: api.CodePortInUse}) {
		t.Error("only a port that an instance holds may be given up")
	}
	if moves := portMoves(-time.Second); moves(by(api.OwnerInstance)) {
		t.Error("the wait has no end")
	}
}
