package release

import (
	"os"
	"slices"
	"strings"
	"testing"
	"text/template"

	"go.yaml.in/yaml/v3"
)

// TestGoreleaserMakesWhatIsChecked reads what goreleaser is told, without building anything: the names that it gives, and for
// which platforms. make snapshot builds all of it.
func TestGoreleaserMakesWhatIsChecked(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../.goreleaser.yml")
	if err != nil {
		t.Fatal(err)
	}
	type extra struct {
		Glob         string
		NameTemplate string `yaml:"name_template"`
	}
	var told struct {
		ProjectName string `yaml:"project_name"`
		Builds      []struct {
			ID, Main, Binary    string
			Goos, Goarch, Goarm []string
			Ignore              []map[string]string
			Flags, Ldflags      []string
		}
		Archives []struct {
			ID           string
			IDs, Formats []string
			NameTemplate string `yaml:"name_template"`
		}
		Checksum struct {
			NameTemplate string  `yaml:"name_template"`
			ExtraFiles   []extra `yaml:"extra_files"`
		}
		Signs []struct {
			Artifacts, Signature string
			Args                 []string
		}
		Release struct {
			Draft      bool
			ExtraFiles []extra `yaml:"extra_files"`
		}
	}
	if err := yaml.Unmarshal(text, &told); err != nil {
		t.Fatal(err)
	}
	named := func(pattern, platform string) string {
		t.Helper()
		system, arch, _ := strings.Cut(platform, "_")
		parsed, err := template.New("").Parse(pattern)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := parsed.Execute(&b, map[string]string{"ProjectName": told.ProjectName, "Version": "1.2.3", "Os": system, "Arch": arch}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	provider, archive := told.Builds[0], told.Archives[0]
	if got := named(provider.Binary, ""); got != Name+"_v1.2.3" || provider.Main != "." {
		t.Errorf("the provider is %s of %s", got, provider.Main)
	}
	if !slices.Equal(archive.IDs, []string{provider.ID}) || !slices.Equal(archive.Formats, []string{"zip"}) || len(provider.Goarm) != 1 {
		t.Errorf("a zip for each platform must hold the provider alone: %v as %v, arm %v", archive.IDs, archive.Formats, provider.Goarm)
	}
	var platforms []string
	for _, system := range provider.Goos {
		for _, arch := range provider.Goarch {
			if !slices.ContainsFunc(provider.Ignore, func(i map[string]string) bool { return i["goos"] == system && i["goarch"] == arch }) {
				platforms = append(platforms, system+"_"+arch)
			}
		}
	}
	for _, platform := range Platforms() {
		if !slices.Contains(platforms, platform) {
			t.Errorf("%s is not built", platform)
		}
	}
	for _, platform := range platforms {
		if got := named(archive.NameTemplate, platform); got+".zip" != zipName("1.2.3", platform) {
			t.Errorf("%s is packed as %s", platform, got)
		}
	}
	if len(platforms) != 13 {
		t.Errorf("%d platforms, which CHANGELOG.md counts as 13", len(platforms))
	}
	if got := named(told.Checksum.NameTemplate, ""); got != Name+"_1.2.3_SHA256SUMS" {
		t.Errorf("the sums are in %s", got)
	}
	// Its name is that of the sums with .sig unless told otherwise; the registry reads no armoured one.
	if s := told.Signs; len(s) != 1 || s[0].Artifacts != "checksum" || s[0].Signature != "" || !slices.Contains(s[0].Args, "--detach-sign") || slices.Contains(s[0].Args, "--armor") {
		t.Errorf("the sums are signed by %+v", s)
	}
	for place, files := range map[string][]extra{"sums": told.Checksum.ExtraFiles, "release": told.Release.ExtraFiles} {
		if len(files) != 1 || files[0].Glob != "terraform-registry-manifest.json" || named(files[0].NameTemplate, "") != Name+"_1.2.3_manifest.json" {
			t.Errorf("the registry's manifest is not in the %s: %v", place, files)
		}
	}
	if !told.Release.Draft {
		t.Error("a release is published before anybody has looked at it")
	}
	for _, b := range told.Builds {
		if !slices.Contains(b.Flags, "-buildvcs=false") || !slices.Contains(b.Flags, "-trimpath") || !strings.Contains(strings.Join(b.Ldflags, " "), "-X main.version={{ .Version }}") {
			t.Errorf("%s does not know its version, or is not reproducible: %v %v", b.ID, b.Flags, b.Ldflags)
		}
	}
}
