package packaging_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

const (
	dockerFile  = "../Dockerfile"
	composeFile = "container/compose.yaml"
)

// image is a stage of the Dockerfile with all that it has from the stages below it.
type image struct {
	copies      map[string]string // place in the image, place in the stage that it is from
	env         map[string]string
	runs        []string
	volumes     []string
	expose      string
	health      []string
	entrypoint  []string
	composition service
}

// instructions reads the Dockerfile: the instructions of each stage, and by stage the one below it.
func instructions(t *testing.T) (stages map[string][][2]string, below map[string]string) {
	t.Helper()
	text, err := os.ReadFile(dockerFile)
	if err != nil {
		t.Fatal(err)
	}
	stages, below = map[string][][2]string{}, map[string]string{}
	stage := ""
	for line := range strings.Lines(string(text)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == "" || strings.HasPrefix(word, "#"):
		case word == "FROM":
			from, name, _ := strings.Cut(rest, " AS ")
			stage, below[name] = name, from
		default:
			stages[stage] = append(stages[stage], [2]string{word, rest})
		}
	}
	return stages, below
}

// newImage puts a stage together.
func newImage(t *testing.T, name string) image {
	t.Helper()
	stages, below := instructions(t)
	i := image{copies: map[string]string{}, env: map[string]string{}}
	for _, stage := range []string{below[name], name} {
		for _, in := range stages[stage] {
			args := strings.Fields(in[1])
			switch in[0] {
			case "COPY":
				from, ok := strings.CutPrefix(args[0], "--from=")
				if _, known := stages[from]; !ok || !known {
					t.Errorf("%s is from no stage", in[1])
				}
				i.copies[args[2]] = made(t, stages[from], args[1])
			case "ENV":
				for _, pair := range args {
					name, value, _ := strings.Cut(pair, "=")
					i.env[name] = value
				}
			case "RUN":
				i.runs = append(i.runs, in[1])
			case "VOLUME":
				i.volumes = words(t, in[1])
			case "EXPOSE":
				i.expose = in[1]
			case "HEALTHCHECK":
				_, command, _ := strings.Cut(in[1], " CMD ")
				i.health = words(t, command)
			case "ENTRYPOINT":
				i.entrypoint = words(t, in[1])
			case "STOPSIGNAL":
				if in[1] != "SIGTERM" {
					t.Errorf("the services end in order by SIGTERM, not %s", in[1])
				}
			default:
				t.Errorf("nobody checks %s %s", in[0], in[1])
			}
		}
	}
	i.composition = composition(t).Services[name]
	return i
}

// made checks that a stage makes a file: by go build -o DIR/ PACKAGES, or by cargo install --root DIR.
func made(t *testing.T, stage [][2]string, path string) string {
	t.Helper()
	for _, in := range stage {
		if output := regexp.MustCompile(`go build .* -o (\S+)/ (.*)$`).FindStringSubmatch(in[1]); len(output) > 0 {
			for _, pkg := range strings.Fields(output[2]) {
				if _, err := os.Stat(filepath.Join("..", pkg, "main.go")); err != nil {
					t.Error(err)
				}
				if output[1]+"/"+filepath.Base(pkg) == path {
					return path
				}
			}
		}
		if output := regexp.MustCompile(`cargo install (\S+) .*--root (\S+)$`).FindStringSubmatch(in[1]); len(output) > 0 && output[2]+"/bin/"+output[1] == path {
			return path
		}
	}
	t.Errorf("its stage does not make %s", path)
	return path
}

// words reads the JSON form of an instruction.
func words(t *testing.T, text string) (all []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Errorf("%s: %v", text, err)
	}
	return all
}

// service is one of the compose file.
type service struct {
	Image       string
	Build       struct{ Context, Target string }
	EnvFile     string `yaml:"env_file"`
	NetworkMode string `yaml:"network_mode"`
	Restart     string
	Grace       string   `yaml:"stop_grace_period"`
	Drop        []string `yaml:"cap_drop"`
	Add         []string `yaml:"cap_add"`
	Security    []string `yaml:"security_opt"`
	Ulimits     map[string]int
	Volumes     []string
}

type compose struct {
	Services map[string]service
	Volumes  map[string]any
}

func composition(t *testing.T) (c compose) {
	t.Helper()
	decodeYAML(t, composeFile, true, &c)
	return c
}

// help is what a program says of its settings.
func help(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "run", "../"+name+"/rathole-"+name, "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

// TestImages: each path, setting and port of the Dockerfile and of the compose file is one that the programs have, and the
// rights are those of the systemd units.
func TestImages(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"manager", "agent"} {
		i, settings := newImage(t, name), help(t, name)
		program, binary := "/usr/local/bin/rathole-"+name, map[string]string{"manager": "RATHOLE_BINARY", "agent": "RATHOLE_CLIENT_BINARY"}[name]
		for variable := range i.env {
			if !strings.Contains(settings, "($"+variable+")") {
				t.Errorf("%s is no setting of rathole-%s", variable, name)
			}
		}
		if i.copies[program] == "" || !slices.Equal(i.entrypoint, []string{program}) || i.copies[i.env[binary]] == "" {
			t.Errorf("%s starts %v, with %s=%s, and has %v", name, i.entrypoint, binary, i.env[binary], i.copies)
		}
		if !strings.Contains(settings, `--listen=":`+i.expose+`"`) {
			t.Errorf("rathole-%s does not listen on %s", name, i.expose)
		}
		places := []string{i.env["RATHOLE_STATE_DIR"], i.env["RATHOLE_LOG_DIR"]}
		if !slices.Equal(i.volumes, places) || !slices.Contains(i.runs, "install -d -o rathole -g rathole -m 711 "+strings.Join(places, " ")) {
			t.Errorf("%s keeps %v, its volumes are %v, and it runs %q", name, places, i.volumes, i.runs)
		}

		c := i.composition
		if _, err := os.Stat(filepath.Join("container", c.Build.Context, "Dockerfile")); err != nil || c.Build.Target != name {
			t.Errorf("%s is built from %+v: %v", name, c.Build, err)
		}
		if c.EnvFile != name+".env" || !strings.Contains(string(readme), "cat >"+c.EnvFile) || c.NetworkMode != "host" {
			t.Errorf("%s: %+v", name, c)
		}
		unit, err := os.ReadFile("systemd/rathole-" + name + ".service")
		if err != nil {
			t.Fatal(err)
		}
		rights := "CAP_" + strings.Join(c.Add, " CAP_")
		if !strings.Contains(string(unit), "\nCapabilityBoundingSet="+rights+"\n") || !slices.Equal(c.Drop, []string{"ALL"}) {
			t.Errorf("%s has the rights %s, its unit has others", name, rights)
		}
		if !strings.Contains(string(unit), "\nLimitNOFILE="+strconv.Itoa(c.Ulimits["nofile"])+"\n") {
			t.Errorf("%s may open %d files, its unit other numbers", name, c.Ulimits["nofile"])
		}
		var targets []string
		for _, v := range c.Volumes {
			source, target, _ := strings.Cut(v, ":")
			if _, ok := composition(t).Volumes[source]; !ok {
				t.Errorf("the volume %s is declared nowhere", source)
			}
			targets = append(targets, target)
		}
		if !slices.Equal(targets, places) {
			t.Errorf("%s mounts %v, and keeps %v", name, targets, places)
		}
	}
}

// TestEngineOfTheImages: it is built as internal/tools does.
func TestEngineOfTheImages(t *testing.T) {
	t.Parallel()
	stages, _ := instructions(t)
	text, err := os.ReadFile("../internal/tools/obtain/cargo.go")
	if err != nil {
		t.Fatal(err)
	}
	command := stages["engine"][0][1]
	if want := "cargo install rathole --version " + rathole.Version + " --no-default-features --features embedded --root /out"; command != want {
		t.Errorf("the engine is built by %q, want %q", command, want)
	}
	if !regexp.MustCompile(`"install", "rathole", "--version", rathole\.Version,\s+"--no-default-features", "--features", "embedded", "--root"`).Match(text) {
		t.Error("internal/tools builds it in another way")
	}
}

// TestComposeFile has Docker read it, where its plugin is there; no daemon is needed for that.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	if err := exec.CommandContext(t.Context(), "docker", "compose", "version").Run(); err != nil {
		var c map[string]any
		text, readErr := os.ReadFile(composeFile)
		if readErr != nil || yaml.Unmarshal(text, &c) != nil || len(c) != 2 {
			t.Errorf("%v %v", c, readErr)
		}
		t.Skipf("no docker compose: the file is read by nobody but these tests (%v)", err)
	}
	dir := t.TempDir()
	text, err := os.ReadFile(composeFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"compose.yaml": text, "manager.env": nil, "agent.env": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "docker", "compose", "--file", filepath.Join(dir, "compose.yaml"), "config", "--quiet").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
