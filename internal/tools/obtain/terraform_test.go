package obtain

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
)

func (l *lab) terraform(ctx context.Context, releases, key string) (string, error) {
	return commandLine{Options: l.withDefaults(), patience: l.patience, releasesURL: releases, signedByOnly: key}.obtain(ctx)
}

func TestTerraformOfTheMachineIsUsed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		chosen string            // TF_ACC_TERRAFORM_PATH
		path   map[string]string // name → program
		want   string            // name
		note   string
	}{
		"TF_ACC_TERRAFORM_PATH first": {chosen: goodTerraform, path: map[string]string{"terraform": goodTerraform}, want: "chosen"},
		"terraform before tofu":       {path: map[string]string{"terraform": goodTerraform, "tofu": goodTerraform}, want: "terraform"},
		"tofu alone":                  {path: map[string]string{"tofu": goodTerraform}, want: "tofu"},
		"old terraform passed over":   {path: map[string]string{"terraform": oldTerraform, "tofu": goodTerraform}, want: "tofu", note: "1.7.5"},
		"a pre-release of the oldest": {path: map[string]string{"tofu": "#!/bin/sh\necho '{\"terraform_version\": \"1.8.0-rc1\"}'\n"}, want: "tofu"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			if test.chosen != "" {
				l.environment["TF_ACC_TERRAFORM_PATH"] = l.has(t, "chosen", test.chosen)
			}
			for program, text := range test.path {
				l.has(t, program, text)
			}
			got, err := l.terraform(t.Context(), "http://127.0.0.1:1", "")
			if err != nil || got != filepath.Join(l.bin, test.want) {
				t.Errorf("got %q, %v, want %s", got, err, test.want)
			}
			mustContain(t, l.said.String(), test.note)
		})
	}
}

func TestTerraformChosenByVariableMustServe(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ program, want string }{
		"too old":       {oldTerraform, "1.7.5"},
		"not terraform": {notTerraform, "invalid character"},
		"not there":     {"", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.has(t, "terraform", goodTerraform)
			chosen := filepath.Join(l.bin, "chosen")
			if test.program != "" {
				script(t, chosen, test.program)
			}
			l.environment["TF_ACC_TERRAFORM_PATH"] = chosen
			_, err := l.terraform(t.Context(), "http://127.0.0.1:1", "")
			if err == nil {
				t.Fatal("no error")
			}
			mustContain(t, err.Error(), "TF_ACC_TERRAFORM_PATH", chosen, test.want)
		})
	}
}

func TestTerraformComesFromTheRelease(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	server, key := releaseSite(t, goodTerraform)
	path, err := l.terraform(t.Context(), server.URL, key)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.cached(t); len(got) != 2 || filepath.Join(l.CacheDir, got[0]) != path {
		t.Errorf("in the cache: %v, path %s", got, path)
	}
	server.Close() // and from now on from the cache
	if again, err := l.terraform(t.Context(), server.URL, key); err != nil || again != path {
		t.Errorf("second time: %q, %v, want %q", again, err, path)
	}
}

func TestTerraformNowhereToBeHadSaysWhatToDo(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	t.Cleanup(func() { close(gone) })
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-gone }))
	t.Cleanup(hangs.CloseClientConnections)
	empty := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(empty.Close)
	foreign, _ := releaseSite(t, goodTerraform)
	_, ours := releaseSite(t, goodTerraform)
	broken, brokenKey := releaseSite(t, notTerraform)
	for name, test := range map[string]struct{ url, key, want string }{
		"refused":               {"http://127.0.0.1:1", "", "connection refused"},
		"404":                   {empty.URL, "", "404"},
		"hangs":                 {hangs.URL, "", "sent nothing for 200ms"},
		"signed by another key": {foreign.URL, ours, "signature"},
		"signed by nobody's":    {foreign.URL, "", "signature"},
		"does not run here":     {broken.URL, brokenKey, "version -json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			if name == "hangs" {
				l.patience = 200 * time.Millisecond
			}
			_, err := l.terraform(t.Context(), test.url, test.key)
			if err == nil {
				t.Fatal("no error")
			}
			mustContain(t, err.Error(), test.want, "1.8.0", "TF_ACC_TERRAFORM_PATH")
			if got := l.cached(t); len(got) != 0 {
				t.Errorf("in the cache: %v", got)
			}
		})
	}
}

// releaseSite is a release of HashiCorp's form, signed by a new key.
func releaseSite(t *testing.T, program string) (site *httptest.Server, publicKey string) {
	t.Helper()
	archive, sum := zipOf(t, "terraform", program)
	base := "terraform_" + pinnedTerraform
	zipName := fmt.Sprintf("%s_%s_%s.zip", base, runtime.GOOS, runtime.GOARCH)
	sums := fmt.Sprintf("%s  %s\n", sum, zipName)
	signer, err := openpgp.NewEntity("a test", "", "test@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	var signature, armoured bytes.Buffer
	if err := openpgp.DetachSign(&signature, signer, bytes.NewReader([]byte(sums)), nil); err != nil {
		t.Fatal(err)
	}
	writer, err := armor.Encode(&armoured, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := signer.Serialize(writer); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	dir := "/terraform/" + pinnedTerraform + "/"
	index, err := json.Marshal(map[string]any{
		"name": "terraform", "version": pinnedTerraform,
		"shasums": base + "_SHA256SUMS", "shasums_signature": base + "_SHA256SUMS.sig",
		"builds": []map[string]string{{
			"name": "terraform", "version": pinnedTerraform, "os": runtime.GOOS, "arch": runtime.GOARCH,
			"filename": zipName, "url": "https://releases.example.com" + dir + zipName,
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for name, file := range map[string]struct {
		kind string
		body []byte
	}{
		"index.json":             {"application/json", index},
		base + "_SHA256SUMS":     {"text/plain", []byte(sums)},
		base + "_SHA256SUMS.sig": {"application/octet-stream", signature.Bytes()},
		zipName:                  {"application/zip", archive},
	} {
		mux.HandleFunc("GET "+dir+name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", file.kind)
			_, _ = w.Write(file.body)
		})
	}
	site = httptest.NewServer(mux)
	t.Cleanup(site.Close)
	return site, armoured.String()
}
