package guides_test

import (
	"archive/zip"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
)

func secrets(t *testing.T, bin, page string) {
	g := newGuide(t, bin, page, []int{30000, 30010})
	g.also = []string{
		"DNS:vps.example.org", "IP:" + g.vps.String(), "/etc/rathole-manager/", g.cli.Dir + "/", "/etc/rathole-agent/", g.cli.Dir + "/",
	}
	g.events["all three run with their token files"] = func(t *testing.T) {
		g.restart(t, g.manager, "manager.env", "manager.token")
		g.restart(t, g.agent, "agent.env", "host-1.token")
		g.write(t, "agent-2.env", strings.Replace(g.read(t, "agent.env"), "host-1", "host-2", 1))
		g.restart(t, g.second, "agent-2.env", "host-2.token")
	}
	g.events["no token is in the state, the saved plan, a log or a command line"] = func(t *testing.T) {
		places := g.places(t)
		places["the saved plan"] = unzip(t, filepath.Join(g.cli.Dir, "saved"))
		mustNotHold(t, places, append(g.tunnelSecrets(t, "srv-one", "srv-two"), g.manager.token, g.agent.token, g.second.token))
		// What the page says of a variable that is only sensitive.
		g.write(t, "sensitive/main.tf", "variable \"secret\" {\n  sensitive = true\n}\noutput \"one\" {\n  value = 1\n}\n")
		shown := g.typed(t, "the contrast", "(cd sensitive && TF_VAR_secret=in-clear terraform plan -out=saved)", true)
		if strings.Contains(shown, "in-clear") || !strings.Contains(unzip(t, filepath.Join(g.cli.Dir, "sensitive/saved")), "in-clear") {
			t.Error("the page says that a sensitive variable is hidden on the screen, and in clear in a saved plan")
		}
	}
	g.events["the manager runs with its certificate"] = func(t *testing.T) {
		g.manager.scheme, g.manager.authority = "https", filepath.Join(g.cli.Dir, "vps.pem")
		g.restart(t, g.manager, "manager.env", "manager.token")
		g.write(t, "main.tf", strings.Replace(g.read(t, "main.tf"), "http://"+g.manager.listen, "https://"+g.manager.listen, 1)) // as the page has it
	}
	g.events["client.toml has the secrets, the state has not"] = func(t *testing.T) {
		of := g.tunnelSecrets(t, "srv-container")
		for _, secret := range of {
			if !strings.Contains(g.read(t, "client.toml"), secret) {
				t.Error("client.toml lacks a secret")
			}
		}
		mustNotHold(t, g.places(t), of)
	}
	g.events["srv-one is healthy"] = func(t *testing.T) {
		if inst, err := g.mgr.Get(t.Context(), "srv-one"); err != nil || inst.Status != api.StatusHealthy || inst.Revision != 2 {
			t.Errorf("%+v %v", inst, err)
		}
	}
	var player *game.Player
	g.events["a player is on srv-one; its agent is restarted"] = func(t *testing.T) {
		player = g.mustJoin(t, "srv-one", api.TCP)
		g.restart(t, g.agent, "agent.env", "host-1.token")
	}
	g.events["the player is still there"] = func(t *testing.T) {
		if got, err := player.Ask("still there?"); err != nil || got != "still there?" {
			t.Errorf("dropped: %q %v", got, err)
		}
	}
	g.follow(t)
	g.mustDestroy(t)
}

// restart gives a program a new life with the settings that the page has for it.
func (g *guide) restart(t *testing.T, p *program, env, token string) {
	t.Helper()
	p.kill(t)
	kept := p.env[:0:0]
	for _, line := range p.env {
		if !strings.HasPrefix(line, "RATHOLE_TOKEN") {
			kept = append(kept, line)
		}
	}
	for line := range strings.Lines(g.read(t, env)) {
		if !strings.HasPrefix(line, "#") {
			kept = append(kept, strings.TrimSpace(line))
		}
	}
	p.env, p.token = kept, strings.TrimSpace(g.read(t, token))
	g.dial(t)
	p.start(t)
}

func (g *guide) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(g.cli.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tunnelSecrets are the tokens of all services of instances.
func (g *guide) tunnelSecrets(t *testing.T, ids ...string) (all []string) {
	t.Helper()
	for _, id := range ids {
		cfg, err := g.mgr.ClientConfig(t.Context(), id, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`token = "([^"]+)"`).FindAllStringSubmatch(cfg.Config, -1) {
			all = append(all, found[1])
		}
	}
	if len(all) != 2*len(ids) {
		t.Fatalf("%d secrets of %v", len(all), ids)
	}
	return all
}

// places are where no secret may be: by name, what is there.
func (g *guide) places(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{"the state": g.read(t, "terraform.tfstate"), "what Terraform said": g.said}
	for _, p := range []*program{g.manager, g.agent, g.second} {
		found["the log of "+p.listen] = string(p.said(t))
		err := filepath.WalkDir(filepath.Join(p.state, "log"), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			found[path] = string(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")); err == nil {
			found["the command line of process "+e.Name()] = string(text)
		}
	}
	return found
}

func mustNotHold(t *testing.T, places map[string]string, secrets []string) {
	t.Helper()
	for place, text := range places {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("a secret is in %s", place)
			}
		}
	}
}

// unzip is all that is in an archive.
func unzip(t *testing.T, path string) string {
	t.Helper()
	archive, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = archive.Close() }()
	var all strings.Builder
	for _, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&all, r); err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}
