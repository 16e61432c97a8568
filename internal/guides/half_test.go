package guides_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
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
	args := g.manager.args
	g.events["a firewall closes the control ports"] = func(t *testing.T) {
		g.manager.kill(t)
		g.manager.args = append(slices.Clone(args), "--public-host", testkit.Address(t).String()) // where clients are refused, too
		g.manager.start(t)
	}
	g.events["the firewall is open"] = func(t *testing.T) {
		g.manager.kill(t)
		g.manager.args = args
		g.manager.start(t)
	}
	g.events["Ctrl-C is pressed while an apply waits, with more patience"] = g.interrupt
	var (
		armed  atomic.Bool
		killed atomic.Int32
		direct string // main.tf without a proxy
	)
	g.events["the provider will be killed after the server half is made"] = func(t *testing.T) {
		proxy := testkit.Proxy(t, "http://"+g.manager.listen, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method != http.MethodPost || r.URL.Query().Get("dry_run") != "" || !armed.CompareAndSwap(true, false) {
				next.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(httptest.NewRecorder(), r)
			killed.Add(g.cli.KillProvider(t))
		})
		direct = g.read(t, "main.tf")
		armed.Store(true)
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

// interrupt presses Ctrl-C when an apply has made the server half of srv-one, and waits until Terraform has ended.
func (g *guide) interrupt(t *testing.T) {
	patient := strings.Replace(g.read(t, "main.tf"), `create = "5s"`, `create = "5m"`, 1)
	impatient := g.read(t, "main.tf")
	g.write(t, "main.tf", patient)
	var out bytes.Buffer
	cmd := g.cli.Command(t, "apply", "-auto-approve")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	wait.Eventually(t, 30*time.Second, func() error {
		_, err := g.agents[0].Get(t.Context(), "srv-one")
		return err
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Errorf("the apply succeeded:\n%s", out.String())
		}
	case <-ctx.Done():
		t.Fatal("Terraform does not end")
	}
	g.said = out.String()
	g.write(t, "main.tf", impatient)
}
