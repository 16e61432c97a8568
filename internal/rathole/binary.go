package rathole

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// ErrNoEngine is wrapped by every error of Find: there is no rathole that we can run. The text around it says what was
// looked for, what was found, and how to mend it.
var ErrNoEngine = errors.New("no usable rathole")

// mend is the advice that every such error ends with.
const mend = "install rathole " + Version + " in PATH or set RATHOLE_BINARY to its path"

// askTimeout bounds one question to a binary. rathole answers in 3 ms; another program may wait for input for ever.
const askTimeout = 5 * time.Second

// Binary is a rathole executable that was asked what it is.
type Binary struct {
	Path     string   // absolute
	Version  string   // always Version
	Features []string // cargo features, with hyphens, sorted; empty if the build does not tell
	SHA256   string   // of the file, in hex: what tells two builds of one version apart
}

// nameDigits is how much of a build's checksum its name shows, in hex digits: enough for people to compare, and for a
// directory of a few builds.
const nameDigits = 12

// Name is the version and the beginning of the checksum: the same for the same bytes, wherever they lie.
func (b Binary) Name() string { return b.Version + "-" + b.SHA256[:min(nameDigits, len(b.SHA256))] }

// Supports tells whether the build can speak a transport.
func (b Binary) Supports(t api.Transport) bool {
	switch t {
	case api.TransportTCP:
		return true
	case api.TransportNoise:
		return slices.Contains(b.Features, "noise")
	}
	return false
}

// HotReload tells whether the build watches its config. One that does needs an inotify instance, and exits with code 0
// where the user has none left; one that does not must be restarted for every change.
func (b Binary) HotReload() bool { return slices.Contains(b.Features, "hot-reload") }

// Find looks for rathole at path, or in PATH under its own name when path is empty, asks it for its version and features,
// and takes its checksum. Every error wraps ErrNoEngine.
func Find(ctx context.Context, path string) (Binary, error) {
	name := path
	if name == "" {
		name = "rathole"
	}
	found, err := exec.LookPath(name)
	if err != nil && path == "" {
		return Binary{}, fmt.Errorf("%w: looked for %q in PATH: %w; %s", ErrNoEngine, name, errors.Unwrap(err), mend)
	}
	if err != nil {
		return Binary{}, fmt.Errorf("%w at %s: %w; %s", ErrNoEngine, path, errors.Unwrap(err), mend)
	}
	if found, err = filepath.Abs(found); err != nil {
		return Binary{}, fmt.Errorf("%w: absolute path of %s: %w", ErrNoEngine, found, err)
	}
	short, err := ask(ctx, found, "-V")
	if err != nil {
		return Binary{}, fmt.Errorf("%w: %w; %s", ErrNoEngine, err, mend)
	}
	// A build from a clone says what git describe says, so that a release's tag has a v; anything after the number is
	// a later commit.
	version, isRathole := strings.CutPrefix(strings.TrimSpace(short), "rathole ")
	if !isRathole || strings.TrimPrefix(version, "v") != Version {
		return Binary{}, fmt.Errorf("%w: %s says %q, wanted %q; %s", ErrNoEngine, found, firstLine(short), "rathole "+Version, mend)
	}
	long, err := ask(ctx, found, "--version")
	if err != nil {
		return Binary{}, fmt.Errorf("%w: %w; %s", ErrNoEngine, err, mend)
	}
	sum, err := Digest(found)
	if err != nil {
		return Binary{}, fmt.Errorf("%w: %w; %s", ErrNoEngine, err, mend)
	}
	return Binary{Path: found, Version: Version, Features: parseFeatures(long), SHA256: sum}, nil
}

// Digest is the SHA-256 of a file, in hex. A binary of 5 MB takes about 10 ms.
func Digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// ask runs the binary with one flag and an empty environment, so that no setting of ours changes the answer.
func ask(ctx context.Context, path, flag string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for {
		out := &limitedBuffer{limit: 16 << 10}
		cmd := exec.CommandContext(ctx, path, flag)
		cmd.Env = []string{}
		cmd.Stdout, cmd.Stderr = out, out
		cmd.WaitDelay = time.Second // a grandchild may hold the pipe open after the kill
		err := cmd.Run()
		switch {
		case err == nil:
			return out.String(), nil
		case ctx.Err() != nil:
			return "", fmt.Errorf("%s %s did not answer: %w", path, flag, ctx.Err())
		case errors.Is(err, syscall.ETXTBSY):
			// Just copied, and a child that was forked meanwhile holds the copy open for writing until its exec.
			select {
			case <-time.After(10 * time.Millisecond):
				continue
			case <-ctx.Done():
			}
		}
		if said := firstLine(out.String()); said != "" {
			return "", fmt.Errorf("%s %s: %w: it says %q", path, flag, err, said)
		}
		return "", fmt.Errorf("%s %s: %w", path, flag, err)
	}
}

// parseFeatures reads the line "cargo Features:      base64,client,hot_reload,noise,server".
func parseFeatures(long string) []string {
	for line := range strings.Lines(long) {
		list, found := strings.CutPrefix(strings.TrimSpace(line), "cargo Features:")
		if !found {
			continue
		}
		features := strings.FieldsFunc(strings.ReplaceAll(list, "_", "-"), func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(features)
		return features
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return short(clean(line))
}

// limitedBuffer keeps the beginning of an output and swallows the rest.
type limitedBuffer struct {
	bytes.Buffer
	limit int
}

// Write never fails, so that the program is not ended by a broken pipe.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if room := b.limit - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
