package testkit

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Proxy puts a hook in front of a service and returns its URL.
func Proxy(t testing.TB, target string, hook func(w http.ResponseWriter, r *http.Request, next http.Handler)) string {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	next := httputil.NewSingleHostReverseProxy(u)
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { hook(w, r, next) }))
	t.Cleanup(p.Close)
	return p.URL
}

// KillProvider ends the providers that Terraform has started from this command line's own directory, and tells how many
// there were.
func (c *CLI) KillProvider(t testing.TB) int32 {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Error(err)
		return 0
	}
	killed := int32(0)
	for _, e := range entries {
		exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
		if err != nil || !strings.HasPrefix(exe, c.Bin+string(filepath.Separator)) {
			continue
		}
		pid, err := strconv.Atoi(e.Name())
		if err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	return killed
}
