package process_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/limits"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor/process"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// TestOutOfMemory runs a process that takes all memory of a cgroup. The kernel kills it, and its exit has the evidence;
// that of another, which somebody kills, has none.
func TestOutOfMemory(t *testing.T) {
	if !testkit.Alone(t, false) {
		return
	}
	group := testkit.Cgroup(t, "memory")
	const limit = "268435456"
	err := os.WriteFile(filepath.Join(group, "memory.max"), []byte(limit), 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		err = os.WriteFile(filepath.Join(group, "memory.limit_in_bytes"), []byte(limit), 0)
	}
	if err != nil {
		t.Skipf("no limit of memory can be set: %v", err)
	}
	dir := t.TempDir()
	program := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, "units", name), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	b, err := process.New(process.Config{
		Units: filepath.Join(dir, "units"), Logs: filepath.Join(dir, "log"), Flag: "-s", ConfigName: "x.toml", Env: []string{"PATH=/usr/bin:/bin"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	end := func(name, text string) *supervisor.Exit {
		t.Helper()
		if _, err := b.Start(t.Context(), supervisor.Unit{ID: name, Program: program(name, text)}); err != nil {
			t.Fatal(err)
		}
		var exit *supervisor.Exit
		wait.Eventually(t, 30*time.Second, func() error {
			p, _ := b.Process(name)
			if exit = p.Exit; exit == nil {
				return fmt.Errorf("process %d runs", p.PID)
			}
			return nil
		})
		return exit
	}
	if e := end("killed", "kill -9 $$"); e.Signal != "SIGKILL" || e.OOMKills != 0 {
		t.Errorf("%+v", e)
	}
	if e := end("greedy", "exec tail /dev/zero"); e.Signal != "SIGKILL" || e.OOMKills != 1 {
		t.Errorf("%+v", e)
	}
	if says := limits.This().Killed(1); !strings.Contains(says, "of cgroup ") || !strings.Contains(says, "is 256 MiB") || !strings.Contains(says, "MemoryMax=") {
		t.Errorf("it says %s", says)
	}
}
