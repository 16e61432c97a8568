package guides_test

import (
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/markdown"
)

// gettingStarted shows examples as they are, each of which is applied by the test of its own directory, and commands of
// README.md, each of which is typed by that page's own test.
func gettingStarted(t *testing.T, _, page string) {
	tests, err := os.ReadFile("../../examples/examples_test.go")
	if err != nil {
		t.Fatal(err)
	}
	applied := map[string]string{}
	for _, found := range regexp.MustCompile(`\[\]string\{"([a-z-]+)/main\.tf"`).FindAllStringSubmatch(string(tests), -1) {
		text, err := os.ReadFile(filepath.Join("../../examples", found[1], "main.tf"))
		if err != nil {
			t.Fatal(err)
		}
		applied[strings.TrimSpace(string(text))] = found[1]
	}
	typed := map[string]bool{}
	for _, s := range markdown.Read(t, "../../README.md") {
		for _, b := range s.Blocks {
			typed[b.Text] = b.Language == "sh"
		}
	}
	shown := map[string]int{}
	for _, s := range markdown.Read(t, page) {
		for _, b := range s.Blocks {
			shown[b.Language]++
			switch {
			case b.Language == "terraform" && applied[strings.TrimSpace(b.Text)] != "":
			case b.Language == "sh" && typed[b.Text]:
			default:
				t.Errorf("%s, line %d: no test runs this:\n%s", page, b.Line, b.Text)
			}
		}
	}
	if shown["terraform"] < 3 || shown["sh"] < 5 {
		t.Errorf("only these blocks are in %s: %v", page, shown)
	}
}

func status(t *testing.T, bin, page string) {
	g := newGuide(t, bin, page, []int{30000}, "RATHOLE_LISTEN=vps.example.org:7001")
	g.mustMake(t, "srv_quickstart", api.InstanceSpec{GamePort: 30000, HostIP: g.game.Host.String(), AgentURL: g.here("https://host-1.example.org:8081")})
	g.follow(t)
	mustSay(t, "the three commands", g.said, "srv_quickstart … healthy\nProcessRunning … True\nClientConnected … True\nPortsListening … True\nsrv_quickstart is healthy")
}

// monitoring scrapes as the page's configuration of Prometheus says.
func monitoring(t *testing.T, bin, page string) {
	g := newGuide(t, bin, page, nil)
	g.also = []string{"/etc/prometheus/", g.cli.Dir + "/", `"vps:7001"`, `"` + g.manager.listen + `"`, `"host:8081"`, `"` + g.agent.listen + `"`}
	g.write(t, "rathole.token", testkit.Token+"\n")
	type configuration struct {
		RuleFiles []string `yaml:"rule_files"`
		Jobs      []struct {
			Name          string            `yaml:"job_name"`
			Authorization map[string]string `yaml:"authorization"`
			Static        []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	var packaged configuration
	text, err := os.ReadFile("../../packaging/prometheus/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(g.here(string(text))), &packaged); err != nil {
		t.Fatal(err)
	}
	g.languages["yaml"] = func(t *testing.T, text string) {
		var c configuration
		if err := yaml.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		if len(c.Jobs) != len(packaged.Jobs) || c.RuleFiles[0] != packaged.RuleFiles[0] {
			t.Errorf("the page has %+v, packaging/ has %+v", c, packaged)
		}
		for i, job := range c.Jobs {
			if job.Name != packaged.Jobs[i].Name {
				t.Errorf("the job %s is %s in packaging/", job.Name, packaged.Jobs[i].Name)
			}
			metrics := scrape(t, job.Static[0].Targets[0], g.read(t, filepath.Base(job.Authorization["credentials_file"])))
			if want := strings.ReplaceAll(job.Name, "-", "_"); !strings.Contains(metrics, "\n"+want+"_") {
				t.Errorf("%s has no metric of its own", job.Name)
			}
		}
	}
	g.follow(t)
}

// scrape is what a target tells Prometheus, which takes the token from a file.
func scrape(t *testing.T, target, token string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+target+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", target, resp.Status, err)
	}
	return string(body)
}

// reliability names commands that run for hours; here it is checked that each of them runs something.
func reliability(t *testing.T, _, page string) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile("`((?:[A-Z_]+=\\d+ )*)go test (?:[^`]*?-run '?([^ '`]+)'?|[^`]*?)((?: \\./[^ `]+)+)`").FindAllStringSubmatch(string(text), -1)
	if len(commands) != strings.Count(string(text), "go test") || len(commands) < 10 {
		t.Errorf("understood %d commands of %d", len(commands), strings.Count(string(text), "go test"))
	}
	for _, c := range commands {
		source := tests(t, strings.Fields(c[3]))
		for pattern := range strings.SplitSeq(c[2], `\|`) {
			name, subtest, _ := strings.Cut(pattern, "/")
			found := slices.ContainsFunc(regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(source, -1), func(test []string) bool {
				return regexp.MustCompile(name).MatchString(test[1])
			})
			if !found || !strings.Contains(source, subtest) {
				t.Errorf("%s has no test %s", c[3], pattern)
			}
		}
		for _, setting := range strings.Fields(c[1]) {
			if variable, _, _ := strings.Cut(setting, "="); !strings.Contains(source, `"`+variable+`"`) {
				t.Errorf("the tests of %s do not read %s", c[3], variable)
			}
		}
	}
	for _, s := range markdown.Read(t, page) {
		for _, b := range s.Blocks {
			t.Errorf("%s, line %d: this block is run by nobody:\n%s", page, b.Line, b.Text)
		}
	}
}

// tests is the source of all tests of packages, as go test names these.
func tests(t *testing.T, packages []string) string {
	t.Helper()
	var source strings.Builder
	for _, pkg := range packages {
		root, below := strings.CutSuffix(pkg, "/...")
		root = filepath.Join("../..", root)
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && path != root && !below:
				return fs.SkipDir
			case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
				return nil
			}
			text, err := os.ReadFile(path)
			source.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return source.String()
}
