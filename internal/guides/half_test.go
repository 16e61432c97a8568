package guides_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
)

func whenHalfFails(t *testing.T, bin, page string) {
	g := newGuide(t, bin, page, []int{30000, 30001})
	g.events["the agent is down"] = g.agent.kill
	g.events["the agent is back"] = g.agent.start
	g.events["the manager is down"] = g.manager.kill
	g.events["the manager is back"] = g.manager.start
	g.events["nothing is left"] = func(t *testing.T) {
		if out := g.typed(t, "nothing is left", "terraform state list", true); strings.Contains(out, "rathole_instance") {
			t.Errorf("in the state: %s", out)
		}
		g.mustBeEmpty(t)
	}
	var (
		killed atomic.Int32
		direct string // main.tf without a proxy
	)
	g.events["the provider will be killed after the server half is made"] = func(t *testing.T) {
		proxy := testkit.Proxy(t, "http://"+g.manager.listen, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method != http.MethodPost || r.URL.Query().Get("dry_run") != "" || killed.Load() > 0 {
				next.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(httptest.NewRecorder(), r)
			killed.Add(g.cli.KillProvider(t))
		})
		direct = g.read(t, "main.tf")
		g.write(t, "main.tf", strings.Replace(direct, "http://"+g.manager.listen, proxy, 1))
	}
	g.events["the provider was killed once"] = func(t *testing.T) {
		if killed.Load() != 1 {
			t.Errorf("%d providers were killed", killed.Load())
		}
		g.write(t, "main.tf", direct)
	}
	g.events["players reach it"] = func(t *testing.T) {
		testkit.MustReach(t, g.vps.String()+":30000", gameName, api.TCP, api.UDP)
	}
	g.events["the client is gone"] = func(t *testing.T) {
		if _, err := g.agents[0].Stop(t.Context(), "srv-one"); err != nil {
			t.Fatal(err)
		}
	}
	g.events["the server half is gone"] = func(t *testing.T) {
		if err := g.mgr.Delete(t.Context(), "srv-one"); err != nil {
			t.Fatal(err)
		}
	}
	g.events["the manager has nothing; the agent is back, and has a client"] = func(t *testing.T) {
		g.agent.start(t)
		if all, err := g.agents[0].List(t.Context()); err != nil || len(all) != 1 {
			t.Errorf("%+v %v", all, err)
		}
		if _, err := g.agents[0].Stop(t.Context(), "srv-one"); err != nil {
			t.Fatal(err)
		}
	}
	g.follow(t)
	g.mustBeEmpty(t)
}
