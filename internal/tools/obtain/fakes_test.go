package obtain

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What a fake says of itself when it is asked.
const (
	goodRathole   = "#!/bin/sh\necho 'rathole 0.5.0'\n"
	otherRathole  = "#!/bin/sh\necho 'rathole 0.4.8'\n"
	goodTerraform = "#!/bin/sh\necho '{\"terraform_version\": \"1.11.4\"}'\n"
	oldTerraform  = "#!/bin/sh\necho '{\"terraform_version\": \"1.7.5\"}'\n"
	notTerraform  = "#!/bin/sh\necho hello\n"
)

// script writes a program. While a file is open for writing a fork elsewhere in this process would inherit it, and the
// file could not be executed until that child has gone on to its own program.
func script(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// lab is a machine with nothing but what a test puts there.
type lab struct {
	Options
	bin         string // in its PATH
	environment map[string]string
	said        *log
	patience    time.Duration // with a silent server
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{bin: t.TempDir(), environment: map[string]string{}, said: &log{}, patience: time.Minute}
	l.environment["PATH"] = l.bin
	l.Options = Options{
		Progress:    l.said,
		CacheDir:    filepath.Join(t.TempDir(), "cache"),
		DownloadURL: "http://127.0.0.1:1", // refused: nothing listens on port 1
		Getenv:      func(name string) string { return l.environment[name] },
	}
	return l
}

// has puts a program in the machine's PATH.
func (l *lab) has(t *testing.T, name, text string) string {
	t.Helper()
	return script(t, filepath.Join(l.bin, name), text)
}

// cached lists what is in the cache, locks apart.
func (l *lab) cached(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(l.CacheDir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".lock") {
			return err
		}
		names = append(names, strings.TrimPrefix(path, l.CacheDir+"/"))
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return names
}

// log is a Progress that several goroutines may write.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// zipOf gives a zip with one file and its sha256.
func zipOf(t *testing.T, name, text string) (archive []byte, sum string) {
	t.Helper()
	var buf bytes.Buffer
	writer := zip.NewWriter(&buf)
	file, err := writer.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(buf.Bytes())
	return buf.Bytes(), hex.EncodeToString(hash[:])
}

func mustContain(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in: %s", part, text)
		}
	}
}
