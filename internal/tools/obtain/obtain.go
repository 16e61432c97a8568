// Package obtain gets the programs that the tests and the demo need and that are not part of this repository: the
// engine (rathole) and a Terraform or OpenTofu command line. What the machine has is used; what it lacks is fetched once,
// verified, and kept in a cache outside the repository.
package obtain

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// CacheVariable names the environment variable that moves the cache.
const CacheVariable = "TERRAFORM_PROVIDER_RATHOLE_CACHE"

// Options say where to look and whom to tell. The zero value looks at the environment of this process and says nothing.
type Options struct {
	// Progress receives notes, one a line, and what a long step is doing: on a terminal one line that is written over,
	// elsewhere a line at the start and every 15 s. nil: nothing is said.
	Progress io.Writer
	// CacheDir holds what was fetched. Default: TERRAFORM_PROVIDER_RATHOLE_CACHE, or terraform-provider-rathole in the
	// user's cache directory.
	CacheDir string
	// DownloadURL is where rathole's releases lie: <DownloadURL>/v0.5.0/rathole-<target>.zip. Default:
	// RATHOLE_DOWNLOAD_URL, or the project's releases.
	DownloadURL string
	// Getenv reads the environment. Default: os.Getenv.
	Getenv func(string) string
}

func (o Options) withDefaults() Options {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.CacheDir == "" {
		o.CacheDir = o.Getenv(CacheVariable)
	}
	if o.DownloadURL == "" {
		o.DownloadURL = o.Getenv("RATHOLE_DOWNLOAD_URL")
	}
	if o.DownloadURL == "" {
		o.DownloadURL = "https://github.com/rathole-org/rathole/releases/download"
	}
	return o
}

// CacheDir is the directory of the cache, for what else is worth keeping.
func CacheDir() (string, error) {
	c, err := Options{}.withDefaults().cache()
	return c.dir, err
}

// cache opens the cache only when it is needed: a machine that has the programs needs no home directory.
func (o Options) cache() (cache, error) {
	if o.CacheDir != "" {
		dir, err := filepath.Abs(o.CacheDir)
		return cache{dir: dir, progress: o.Progress}, err
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return cache{}, fmt.Errorf("no place for a cache, set %s to a directory: %w", CacheVariable, err)
	}
	return cache{dir: filepath.Join(dir, "terraform-provider-rathole"), progress: o.Progress}, nil
}

func (o Options) note(format string, args ...any) {
	_, _ = fmt.Fprintf(o.Progress, format+"\n", args...)
}

// inPath gives every executable of that name, in the order of PATH.
func (o Options) inPath(name string) []string {
	var found []string
	for _, dir := range filepath.SplitList(o.Getenv("PATH")) {
		if !filepath.IsAbs(dir) {
			continue // an empty or relative entry means the working directory, which is nobody's installation
		}
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			found = append(found, path)
		}
	}
	return found
}

// entryName is the place of one version of a program in the cache. A home directory may be shared by machines of
// several kinds.
func entryName(program, version string) string {
	return fmt.Sprintf("%s-%s-%s-%s", program, version, runtime.GOOS, runtime.GOARCH)
}
