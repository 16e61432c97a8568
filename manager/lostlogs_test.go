package manager_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// TestLogsLost takes the logs of running engines away, in the ways in which they get lost.
func TestLogsLost(t *testing.T) {
	t.Parallel()
	for way, lose := range map[string]func(log string) (mend func() error, err error){
		"a log was deleted": func(log string) (func() error, error) {
			return func() error { return nil }, os.Remove(log)
		},
		"the directory was deleted": func(log string) (func() error, error) {
			return func() error { return nil }, os.RemoveAll(filepath.Dir(log))
		},
		"the directory was made anew": func(log string) (func() error, error) {
			dir := filepath.Dir(log)
			err := os.RemoveAll(dir)
			if err == nil {
				err = os.Mkdir(dir, 0o700)
			}
			return func() error { return nil }, err
		},
		"a directory took the place of a log": func(log string) (func() error, error) {
			err := os.Remove(log)
			if err == nil {
				err = os.MkdirAll(filepath.Join(log, "full"), 0o700)
			}
			return func() error { return os.RemoveAll(log) }, err
		},
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			m := testkit.StartManager(t, nil)
			mustLiveWithout(t, m, true, func(log string) func() {
				mend, err := lose(log)
				if err != nil {
					t.Fatal(err)
				}
				return func() {
					if err := mend(); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}

// TestLogDiskReadOnly makes the disk of the logs read-only for all who open something there: the engines that run have.
func TestLogDiskReadOnly(t *testing.T) {
	if !aloneWithDisks(t) {
		return
	}
	m := testkit.StartManager(t, nil)
	mustLiveWithout(t, m, true, func(log string) func() { return readOnly(t, filepath.Dir(log)) })
}

// TestLogDiskFullUnderEngines fills the disk of the logs under engines that run.
func TestLogDiskFullUnderEngines(t *testing.T) {
	if !aloneWithDisks(t) {
		return
	}
	logs := testkit.Disk(t, "size=256k,nr_inodes=64")
	m := testkit.StartManager(t, func(c *manager.Config) { c.Logs = logs })
	// A reload shows in the log alone: where that cannot be written, a change costs a restart.
	mustLiveWithout(t, m, false, func(string) func() { return fill(t, logs) })
}

// mustLiveWithout connects an instance to its client, loses its log, and wants nobody to notice: neither the engine, which
// goes on to write, nor its client. The API answers, and the log is back with the next process. With reload the instance is
// changed meanwhile, by the same process.
func mustLiveWithout(t *testing.T, m *testkit.Manager, reload bool, lose func(log string) (mend func())) {
	t.Helper()
	a := testkit.StartAgent(t, nil)
	made := mustCreate(t, m, one("one", 30000, api.TCP))
	other := mustCreate(t, m, one("other", 30001, api.TCP))
	connect(t, m, a, "one")
	before, beside := pid(t, m, "one"), pid(t, m, "other")
	log := logOf(t, before)
	mend := lose(log)
	for range 20 {
		makeItLog(t, m, made)
		makeItLog(t, m, other)
	}
	if reload {
		spec := one("one", 30000, api.TCP).InstanceSpec
		spec.Services["query"] = api.ServiceSpec{Protocols: []api.Protocol{api.UDP}, LocalPort: 7777, PublicPort: 30002}
		if _, err := m.Update(t.Context(), "one", api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{}); err != nil {
			t.Errorf("change: %v", err)
		}
		connect(t, m, a, "one")
	}
	list, err := m.List(t.Context(), "", "")
	if err != nil || len(list) != 2 || list[0].Status != api.StatusHealthy || list[1].Status != api.StatusInactive {
		t.Errorf("%v %+v", err, list)
	}
	if got := testkit.Curl(t, "GET", m.URL+"/api/instances/one/logs", "", auth); got.Status != 200 && got.Status < 500 {
		t.Errorf("logs: %d %s", got.Status, got.Body)
	} else if got.Status >= 500 {
		var p api.Problem
		if got.Into(t, &p); p.Code == "" {
			t.Errorf("logs: %d without a code: %s", got.Status, got.Body)
		}
	}
	if now := pid(t, m, "one"); now != before {
		t.Errorf("process %d has become %d", before, now)
	}
	mend()
	if _, err := m.Restart(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	connect(t, m, a, "one")
	wait.Eventually(t, 5*time.Second, func() error {
		text, err := os.ReadFile(log)
		if err == nil && !strings.Contains(string(text), "Listening at") {
			err = fmt.Errorf("the log holds %q", text)
		}
		return err
	})
	shown, err := m.Logs(t.Context(), "one", client.LogQuery{})
	if err != nil || !slices.ContainsFunc(shown.Lines, func(l string) bool { return strings.Contains(l, "Listening at") }) {
		t.Errorf("logs: %v %v", err, shown)
	}
	if now := pid(t, m, "other"); now != beside {
		t.Errorf("process %d of the other instance has become %d", beside, now)
	}
	for _, id := range []string{"one", "other"} {
		if err := m.Delete(t.Context(), id); err != nil {
			t.Errorf("remove %s: %v", id, err)
		}
	}
}

// logOf is the file that an engine writes to.
func logOf(t *testing.T, pid int) string {
	t.Helper()
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/1", pid))
	if err != nil {
		t.Fatal(err)
	}
	return path
}
