// Package main_test keeps README.md true: what it tells people to type is typed, what it says the programs answer is
// answered, and what it lists is complete.
package main_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/testkit/markdown"
)

// readme reads the page.
func readme(t *testing.T) []markdown.Section {
	t.Helper()
	return markdown.Read(t, "README.md")
}

// blocks gives all blocks of a language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	var found []string
	for _, s := range readme(t) {
		for _, b := range s.Blocks {
			if b.Language == language {
				found = append(found, b.Text)
			}
		}
	}
	if len(found) == 0 {
		t.Fatalf("README.md has no block of %s", language)
	}
	return found
}

// TestBlocksAreOfAKnownKind: a block of another language would be checked by nobody.
func TestBlocksAreOfAKnownKind(t *testing.T) {
	t.Parallel()
	for _, s := range readme(t) {
		for _, b := range s.Blocks {
			if !slices.Contains([]string{"sh", "text", "json", "ini", "hcl"}, b.Language) {
				t.Errorf("%s has a block of %q", s.Title, b.Language)
			}
		}
	}
}

// TestConfigurationsAreTheExamples: each piece of HCL is cut from a file that the examples' own tests apply.
func TestConfigurationsAreTheExamples(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS("examples"), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".tf") {
			return err
		}
		text, err := os.ReadFile(filepath.Join("examples", path))
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	shown := blocks(t, "hcl")
	if !slices.Contains(shown, files["quickstart/main.tf"]) {
		t.Error("examples/quickstart/main.tf is not shown as it is")
	}
	for _, text := range shown {
		cut := false
		for _, file := range files {
			cut = cut || strings.Contains(file, text)
		}
		if !cut {
			t.Errorf("this is in no example:\n%s", text)
		}
	}
}

func TestMakeTargetsExist(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("GNUmakefile")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)").FindAllSubmatch(page, -1)
	if len(named) < 5 {
		t.Errorf("found only %d targets in README.md", len(named))
	}
	for _, target := range named {
		if !regexp.MustCompile(`(?m)^` + string(target[1]) + `:`).Match(makefile) {
			t.Errorf("GNUmakefile has no target %s", target[1])
		}
	}
}

func TestLinkedFilesExist(t *testing.T) {
	t.Parallel()
	for _, s := range readme(t) {
		for _, link := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(s.Text, -1) {
			if _, err := os.Stat(link[1]); err != nil {
				t.Errorf("%s: %v", s.Title, err)
			}
		}
		for _, b := range s.Blocks {
			for _, path := range regexp.MustCompile(`\bpackaging/[\w./-]+`).FindAllString(b.Text, -1) {
				if _, err := os.Stat(path); err != nil {
					t.Errorf("%s, line %d: %v", s.Title, b.Line, err)
				}
			}
		}
	}
}

// setting is one row of the table of settings, for one service.
type setting struct{ service, flag, variable string }

// TestSettingsAreComplete compares the table with what the programs say of themselves.
func TestSettingsAreComplete(t *testing.T) {
	t.Parallel()
	var page, listed string
	for _, s := range readme(t) {
		page += s.Text
		if s.Title == "Settings" {
			listed = s.Text
		}
	}
	documented := map[setting]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| (?:`--([a-z-]+)`)? ?\\| (both|manager|agent) \\|").FindAllStringSubmatch(listed, -1) {
		for _, service := range []string{"manager", "agent"} {
			if row[3] == "both" || row[3] == service {
				documented[setting{service, row[2], row[1]}] = true
			}
		}
	}
	bin := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", "./manager/rathole-manager", "./agent/rathole-agent").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	known := map[setting]bool{{"manager", "", "RATHOLE_TOKEN"}: true, {"agent", "", "RATHOLE_TOKEN"}: true}
	for _, service := range []string{"manager", "agent"} {
		for _, s := range settings(t, filepath.Join(bin, "rathole-"+service), service) {
			if s.variable != "" {
				known[s] = true
			} else if !strings.Contains(page, "`--"+s.flag+"`") {
				t.Errorf("README.md does not name --%s of %s", s.flag, service)
			}
		}
	}
	for s := range known {
		if !documented[s] {
			t.Errorf("the table lacks %+v", s)
		}
	}
	for s := range documented {
		if !known[s] {
			t.Errorf("the table has %+v, which does not exist", s)
		}
	}
	named := regexp.MustCompile(`(?m)^(RATHOLE_[A-Z_]+)=`)
	for _, text := range blocks(t, "ini") {
		for _, name := range named.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(listed, "`"+name[1]+"`") {
				t.Errorf("%s is set, but is no setting", name[1])
			}
		}
	}
}

// settings reads a program's --help.
func settings(t *testing.T, program, service string) []setting {
	t.Helper()
	help, err := exec.CommandContext(t.Context(), program, "--help").Output()
	if err != nil {
		t.Fatalf("%s --help: %v", program, err)
	}
	var found []setting
	flag := regexp.MustCompile(`^ +(?:-[a-z], )?--([a-z-]+)`)
	variable := regexp.MustCompile(`\(\$([A-Z_]+)\)`)
	for line := range strings.Lines(string(help)) {
		if name := flag.FindStringSubmatch(line); name != nil {
			found = append(found, setting{service: service, flag: name[1]})
		}
		if name := variable.FindStringSubmatch(line); name != nil {
			found[len(found)-1].variable = name[1]
		}
	}
	if len(found) < 10 {
		t.Fatalf("%s --help shows only %d flags:\n%s", program, len(found), help)
	}
	return found
}
