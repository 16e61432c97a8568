package release

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// built writes a release as it should be, but for what change does to its files, and returns its directory.
func built(t *testing.T, change func(files map[string][]byte)) string {
	t.Helper()
	root := t.TempDir()
	dist := filepath.Join(root, "dist")
	manifest := []byte(`{"version": 1, "metadata": {"protocol_versions": ["6.0"]}}`)
	files := map[string][]byte{}
	for _, platform := range append(Platforms(), "freebsd_386") {
		var b bytes.Buffer
		archive := zip.NewWriter(&b)
		name := Name + "_v1.2.3"
		if strings.HasPrefix(platform, "windows") {
			name += ".exe"
		}
		header := &zip.FileHeader{Name: name}
		header.SetMode(0o755)
		w, err := archive.CreateHeader(header)
		if err == nil {
			_, err = w.Write([]byte("a program"))
		}
		if err != nil || archive.Close() != nil {
			t.Fatal(err)
		}
		files[zipName("1.2.3", platform)] = b.Bytes()
	}
	var sums strings.Builder
	for name, text := range files {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(text), name)
	}
	fmt.Fprintf(&sums, "%x  %s_1.2.3_manifest.json\n", sha256.Sum256(manifest), Name)
	files[Name+"_1.2.3_SHA256SUMS"] = []byte(sums.String())
	files["../terraform-registry-manifest.json"] = manifest
	files[Name+"_1.2.3_SHA256SUMS.sig"] = []byte{0x89, 0x02, 0x33, 0x04, 0x00} // how gpg's begin
	change(files)
	if err := os.Mkdir(dist, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dist, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dist
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const sums, linux = Name + "_1.2.3_SHA256SUMS", Name + "_1.2.3_linux_amd64.zip"
	for name, tt := range map[string]struct {
		change func(files map[string][]byte)
		says   string
	}{
		"as it should be":                 {func(map[string][]byte) {}, ""},
		"no sums":                         {func(f map[string][]byte) { delete(f, sums) }, "there must be one"},
		"no zip":                          {func(f map[string][]byte) { delete(f, linux) }, "no such file"},
		"zip changed":                     {func(f map[string][]byte) { f[linux] = f[Name+"_1.2.3_linux_arm64.zip"][:100] }, linux},
		"another executable":              {func(f map[string][]byte) { f[linux] = f[Name+"_1.2.3_windows_amd64.zip"] }, "holds no " + Name + "_v1.2.3"},
		"one that need not be there, too": {func(f map[string][]byte) { f[zipName("1.2.3", "freebsd_386")] = f[zipName("1.2.3", "windows_amd64")] }, "freebsd_386.zip holds no"},
		"zip without a sum": {func(f map[string][]byte) {
			f[sums] = bytes.ReplaceAll(f[sums], []byte("linux_amd64"), []byte("linux_mips"))
		}, "has no checksum"},
		"not signed":         {func(f map[string][]byte) { delete(f, sums+".sig") }, "not signed"},
		"signed as text":     {func(f map[string][]byte) { f[sums+".sig"] = []byte("-----BEGIN PGP SIGNATURE-----\n") }, "no binary signature"},
		"an empty signature": {func(f map[string][]byte) { f[sums+".sig"] = nil }, "no binary signature"},
		"another protocol": {func(f map[string][]byte) {
			f["../terraform-registry-manifest.json"] = []byte(`{"version": 1, "metadata": {"protocol_versions": ["5.0"]}}`)
		}, "protocol 6.0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			version, err := Check(built(t, tt.change), true)
			switch {
			case tt.says == "" && (err != nil || version != "1.2.3"):
				t.Errorf("%q %v", version, err)
			case tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("%v, want %q", err, tt.says)
			}
		})
	}
}

// TestCheckOfASnapshot: what nobody has signed passes for a snapshot, and is held to all other rules.
func TestCheckOfASnapshot(t *testing.T) {
	t.Parallel()
	unsigned := func(f map[string][]byte) { delete(f, Name+"_1.2.3_SHA256SUMS.sig") }
	if version, err := Check(built(t, unsigned), false); err != nil || version != "1.2.3" {
		t.Errorf("%q %v", version, err)
	}
	if _, err := Check(built(t, func(f map[string][]byte) { unsigned(f); delete(f, zipName("1.2.3", "linux_arm")) }), false); err == nil {
		t.Error("a snapshot without a platform passes")
	}
}
