// Package release checks that a directory of built files is what the Terraform Registry takes: the rules are those of
// https://developer.hashicorp.com/terraform/registry/providers/publishing.
package release

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Name is the project's, with which every file of a provider's release begins.
const Name = "terraform-provider-rathole"

// Platforms are those that must be there: where people run Terraform. A release may have more.
func Platforms() []string {
	return []string{"darwin_amd64", "darwin_arm64", "linux_amd64", "linux_arm64", "linux_arm", "windows_amd64", "freebsd_amd64"}
}

// Check reads the files of a release and returns its version. Without a signature of its checksums the registry takes none; a
// snapshot is unsigned.
func Check(dir string, signed bool) (version string, err error) {
	found, err := filepath.Glob(filepath.Join(dir, Name+"_*_SHA256SUMS"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("there must be one %s_<version>_SHA256SUMS in %s, found %d (%w)", Name, dir, len(found), err)
	}
	version = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), Name+"_"), "_SHA256SUMS")
	sums, err := readSums(found[0])
	if err != nil {
		return version, err
	}
	manifest := fmt.Sprintf("%s_%s_manifest.json", Name, version)
	errs := []error{checkManifest(dir, manifest, sums)}
	platforms := Platforms()
	for name := range sums { // what more there is must be as good
		if platform, ok := platformOf(name, version); ok && !slices.Contains(platforms, platform) {
			platforms = append(platforms, platform)
		}
	}
	for _, platform := range platforms {
		errs = append(errs, checkZip(dir, zipName(version, platform), version, platform, sums))
	}
	if signed {
		errs = append(errs, checkSignature(found[0]+".sig"))
	}
	for name, want := range sums {
		if name != manifest { // the file itself lies at the project's root, and is uploaded under this name
			errs = append(errs, checkSum(filepath.Join(dir, name), want))
		}
	}
	return version, errors.Join(errs...)
}

// zipName is the registry's for a platform, such as linux_amd64.
func zipName(version, platform string) string {
	return fmt.Sprintf("%s_%s_%s.zip", Name, version, platform)
}

func platformOf(zip, version string) (platform string, ok bool) {
	rest, begins := strings.CutPrefix(zip, Name+"_"+version+"_")
	platform, ends := strings.CutSuffix(rest, ".zip")
	return platform, begins && ends
}

// readSums reads lines of a SHA-256 in hex and a name.
func readSums(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 2 || len(fields[0]) != hex.EncodedLen(sha256.Size) {
			return nil, fmt.Errorf("%s: %q is not a checksum and a name", path, lines.Text())
		}
		sums[fields[1]] = fields[0]
	}
	return sums, nil
}

func checkManifest(dir, name string, sums map[string]string) error {
	if sums[name] == "" {
		return fmt.Errorf("%s has no checksum", name)
	}
	text, err := os.ReadFile(filepath.Join(dir, "..", "terraform-registry-manifest.json"))
	if err != nil {
		return err
	}
	var manifest struct {
		Version  int
		Metadata struct {
			ProtocolVersions []string `json:"protocol_versions"`
		}
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		return fmt.Errorf("the registry's manifest: %w", err)
	}
	if manifest.Version != 1 || len(manifest.Metadata.ProtocolVersions) != 1 || manifest.Metadata.ProtocolVersions[0] != "6.0" {
		return fmt.Errorf("the registry's manifest must say version 1 and protocol 6.0: %s", text)
	}
	return sumIs(name, text, sums[name])
}

// checkZip checks that a platform's archive has the one executable that Terraform looks for.
func checkZip(dir, name, version, platform string, sums map[string]string) error {
	if sums[name] == "" {
		return fmt.Errorf("%s has no checksum", name)
	}
	archive, err := zip.OpenReader(filepath.Join(dir, name))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer func() { _ = archive.Close() }()
	want := Name + "_v" + version
	if strings.HasPrefix(platform, "windows") {
		want += ".exe"
	}
	for _, f := range archive.File {
		if f.Name != want {
			continue
		}
		if f.Mode()&0o111 == 0 {
			return fmt.Errorf("%s: %s cannot be executed", name, want)
		}
		return nil
	}
	return fmt.Errorf("%s holds no %s", name, want)
}

// checkSignature checks that there is a signature as the registry reads it: binary, not text. Whose it is the registry knows.
func checkSignature(path string) error {
	text, err := os.ReadFile(path)
	switch {
	case err != nil:
		return fmt.Errorf("the checksums are not signed: %w", err)
	case len(text) == 0 || text[0]&0x80 == 0: // each packet of OpenPGP begins with this bit (RFC 9580, 4.2)
		return fmt.Errorf("%s is no binary signature", path)
	}
	return nil
}

func checkSum(path, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("%s has the checksum %s, not %s", path, got, want)
	}
	return nil
}

func sumIs(name string, text []byte, want string) error {
	sum := sha256.Sum256(text)
	if got := hex.EncodeToString(sum[:]); got != want {
		return fmt.Errorf("%s has the checksum %s, not %s", name, got, want)
	}
	return nil
}
