package guides_test

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	goversion "github.com/hashicorp/go-version"

	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/markdown"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/newer"
)

// gameName is what players hear who reach the game.
const gameName = "the game of the guides"

// notRunnable are the commands of the guides that an older Terraform does not have, each with the version that it takes. A
// page names that version beside them.
var notRunnable = map[string]string{
	"terraform apply -invoke=action.rathole_instance_rotate_secret.one\n": "Terraform 1.14 or later",
	"terraform query -generate-config-out=found.tf\n":                     "Terraform 1.14 or later",
}

// guide is a page that is being followed, and the machines that it speaks of.
type guide struct {
	page    string
	cli     *testkit.CLI
	env     string // file that carries the shell's variables from one command to the next
	version *goversion.Version

	manager *program
	agent   *program // of host-1
	second  *program // of host-2
	vps     netip.Addr
	hosts   [2]netip.Addr
	mgr     *client.Manager
	agents  [2]*client.Agent
	game    *game.Server

	// events are what a page's comments say happens between two blocks, and what must be so then.
	events map[string]func(*testing.T)
	// languages run blocks that are of this page alone.
	languages map[string]func(t *testing.T, text string)
	also      []string // more addresses of the page, each followed by what it is here
	said      string   // by the last command
}

// tools are the programs of this tree, built once, and terraform, in one directory.
func tools(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	testkit.Build(t, bin, ".", "./manager/rathole-manager", "./agent/rathole-agent")
	for name, path := range map[string]string{"terraform": testkit.Terraform(t), "rathole": testkit.Rathole(t)} {
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// newGuide starts a manager, the agents of two hosts and a game on the given ports of the first. more are variables of the
// shell.
func newGuide(t *testing.T, bin, page string, ports []int, more ...string) *guide {
	t.Helper()
	g := &guide{page: page, env: filepath.Join(t.TempDir(), "env"), vps: testkit.Address(t), events: map[string]func(*testing.T){}, languages: map[string]func(*testing.T, string){}}
	g.game = testkit.StartGame(t, gameName, ports...)
	g.hosts = [2]netip.Addr{testkit.Address(t), testkit.Address(t)}
	g.manager = newProgram(t, filepath.Join(bin, "rathole-manager"), g.vps.String()+":7001", testkit.Token, "--bind-address", g.vps.String())
	g.agent = newProgram(t, filepath.Join(bin, "rathole-agent"), g.hosts[0].String()+":8081", testkit.Token)
	g.second = newProgram(t, filepath.Join(bin, "rathole-agent"), g.hosts[1].String()+":8081", testkit.Token)
	g.dial(t)
	for _, p := range []*program{g.manager, g.agent, g.second} {
		p.start(t)
	}
	env := append([]string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TF_CLI_ARGS=-no-color",
		"TF_CLI_ARGS_apply=-auto-approve -input=false", "TF_CLI_ARGS_destroy=-auto-approve -input=false", "TF_CLI_ARGS_plan=-input=false",
		"RATHOLE_STATE_DIR=" + g.manager.state,
	}, more...)
	for i := range env {
		env[i] = g.here(env[i])
	}
	own := t.TempDir() // whoever kills a provider that was started from here kills no other guide's
	if err := os.Link(filepath.Join(bin, "terraform-provider-rathole"), filepath.Join(own, "terraform-provider-rathole")); err != nil {
		t.Fatal(err)
	}
	g.cli = testkit.NewInstalledCLI(t, t.TempDir(), own, env...)
	g.version = newer.Version(t, g.cli)
	return g
}

// dial makes the clients by which a test looks behind the page.
func (g *guide) dial(t *testing.T) {
	t.Helper()
	var err error
	if g.mgr, err = client.NewManager(g.manager.client(t)); err != nil {
		t.Fatal(err)
	}
	g.manager.ready = func() error { return g.mgr.Ready(context.WithoutCancel(t.Context())) }
	for i, p := range []*program{g.agent, g.second} {
		a, err := client.NewAgent(p.client(t))
		if err != nil {
			t.Fatal(err)
		}
		g.agents[i], p.ready = a, func() error { return a.Ready(context.WithoutCancel(t.Context())) }
	}
}

// here puts the addresses of this test in place of those of the page.
func (g *guide) here(text string) string {
	return strings.NewReplacer(append(g.also,
		"https://vps.example.org:7001", g.manager.scheme+"://"+g.manager.listen,
		"https://host-1.example.org:8081", g.agent.scheme+"://"+g.agent.listen,
		"https://host-2.example.org:8081", g.second.scheme+"://"+g.second.listen,
		"vps.example.org", g.vps.String(), "host-1.example.org", g.hosts[0].String(), "host-2.example.org", g.hosts[1].String(),
		"127.0.0.1", g.game.Host.String(), "your-secure-api-token", testkit.Token,
	)...).Replace(text)
}

// fileName is the first line of a block that shows a file.
var fileName = regexp.MustCompile(`^# ([\w./-]+\.(?:tf|tfvars|tfquery\.hcl|toml|env))\b(.*)\n`)

// follow does what the page says, from top to bottom. A block that it cannot follow fails the test.
func (g *guide) follow(t *testing.T) {
	t.Helper()
	met, begin := map[string]bool{}, time.Now()
	for _, s := range markdown.Read(t, g.page) {
		for _, b := range s.Blocks {
			at := filepath.Base(g.page) + ", " + s.Title
			file := fileName.FindStringSubmatch(b.Text)
			switch {
			case b.Language == markdown.Comment:
				event, ok := g.events[b.Text]
				if !ok {
					t.Fatalf("%s: nothing makes this happen: %s", at, b.Text)
				}
				met[b.Text] = true
				event(t)
			case len(file) > 0 && !newer.Known(g.version, file[2]):
				for _, complaint := range newer.Complaints(t, g.here(b.Text)) {
					t.Errorf("%s: %s\n%s", at, complaint, b.Text)
				}
			case len(file) > 0:
				g.write(t, file[1], g.here(b.Text))
			case g.languages[b.Language] != nil:
				g.languages[b.Language](t, g.here(b.Text))
			case b.Language == "sh":
				g.said = g.typed(t, at, b.Text, true)
			case b.Language == "console":
				g.converse(t, at, b.Text)
			case b.Language == "text":
				mustSay(t, at, g.said, g.here(b.Text))
			default:
				t.Fatalf("%s, line %d: this block of %q is run by nobody:\n%s", at, b.Line, b.Language, b.Text)
			}
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g.events)) {
		if !met[name] {
			t.Errorf("%s does not have the comment %q", g.page, name)
		}
	}
	t.Logf("followed in %s", time.Since(begin).Round(time.Millisecond))
}

func (g *guide) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(g.cli.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	// Beside it, and renamed: a program that watches the file never sees half of it.
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// typed runs a command and returns what it said. A shell goes on where the one before left off.
func (g *guide) typed(t *testing.T, at, command string, succeeds bool) string {
	t.Helper()
	command = g.here(command)
	script := "if [ -f '" + g.env + "' ]; then unset $(compgen -e); . '" + g.env + "'; cd \"$PWD\"; fi\ntrap 'export -p >" + g.env + "' EXIT\n" + command
	out, err := g.cli.Shell(t, script).CombinedOutput()
	if (err == nil) != succeeds {
		t.Fatalf("%s: $ %s\n%s\n%v", at, command, out, err)
	}
	return string(out)
}

// converse types the commands of a block ("$ …") and compares what they answer with what is shown below each. A command
// fails if and only if an error is shown.
func (g *guide) converse(t *testing.T, at, text string) {
	t.Helper()
	for _, turn := range turns(text) {
		if why, marked := notRunnable[turn.command]; marked && !newer.Known(g.version, why) {
			continue
		}
		g.said = g.typed(t, at, turn.command, !strings.Contains("\n"+turn.answer, "\nError: ") && !strings.Contains("\n"+turn.answer, "\nrathole-"))
		mustSay(t, at, g.said, g.here(turn.answer))
	}
}

type turn struct{ command, answer string }

// turns splits a conversation with a shell. A command goes on where its line ends in a backslash.
func turns(text string) []turn {
	var all []turn
	goesOn := false
	for line := range strings.Lines(text) {
		command, typed := strings.CutPrefix(line, "$ ")
		switch {
		case typed:
			all = append(all, turn{command: command})
		case len(all) == 0:
			return []turn{{answer: text}} // which is then said by nothing
		case goesOn:
			all[len(all)-1].command += line
		default:
			all[len(all)-1].answer += line
		}
		goesOn = (typed || goesOn) && strings.HasSuffix(line, "\\\n")
	}
	return all
}
