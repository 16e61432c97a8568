package supervisor_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/scale"
)

// tear are the ways in which one record of many goes bad.
func tear() map[string]func(record string) error {
	write := func(text string) func(string) error {
		return func(record string) error { return os.WriteFile(record, []byte(text), 0o600) }
	}
	return map[string]func(string) error{
		"empty":   write(""),
		"zeros":   write(string(make([]byte, 4096))),
		"garbage": write("\x7fELF\x02\x01\x01 no record at all"),
		"an order that nobody knows": func(record string) error {
			return replaceIn(record, `"desired": "running"`, `"desired": "runnimg"`)
		},
		"truncated": func(record string) error {
			info, err := os.Stat(record)
			if err != nil {
				return err
			}
			return os.Truncate(record, info.Size()/2)
		},
		"gone":        os.Remove,
		"a directory": func(record string) error { return errors.Join(os.Remove(record), os.Mkdir(record, 0o700)) },
		"a loop":      func(record string) error { return errors.Join(os.Remove(record), os.Symlink(record, record)) },
		"closed":      func(record string) error { return os.Chmod(record, 0) }, // root reads it all the same
		"left-overs that cannot be swept": func(record string) error {
			return os.MkdirAll(filepath.Join(filepath.Dir(record), "hints.json.next", "full"), 0o700)
		},
	}
}

// TestTornRecordsAmongAThousand tears records, one in each way, under a thousand running processes. The others do not
// notice; a torn one's process goes on, and is found again when a person has put the record back.
func TestTornRecordsAmongAThousand(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	s := c.open()
	pids := c.mustFill(s, scale.Of(t, "FAULTS_RECORDS", 1000))
	s.end()
	torn, whole := map[string]string{}, map[string][]byte{}
	for way, tear := range tear() {
		id := name(len(torn) * 7)
		record := filepath.Join(c.units(), id, "record.json")
		text, err := os.ReadFile(record)
		if err == nil {
			err = tear(record)
		}
		if err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		if way != "closed" || os.Geteuid() != 0 {
			torn[id], whole[record] = way, text
		}
	}
	s = c.open()
	mustServe(t, s, pids, slices.Collect(maps.Keys(torn))...)
	mustLive(t, pids)
	bad := s.Quarantined()
	for id, way := range torn {
		if bad[id] == nil {
			t.Errorf("%s: it is not quarantined", way)
		}
		mustRefuseAll(t, s, id)
	}
	if len(bad) != len(torn) || s.Alarm() != nil {
		t.Errorf("quarantined are %v, torn were %v; alarm %v", bad, torn, s.Alarm())
	}
	s.end()
	for record, text := range whole {
		err := errors.Join(os.RemoveAll(record), os.RemoveAll(filepath.Join(filepath.Dir(record), "hints.json.next")), os.WriteFile(record, text, 0o600))
		if err != nil {
			t.Fatal(err)
		}
	}
	mustServe(t, c.open(), pids)
}

// mustRefuseAll wants every operation on a unit whose record is torn to say so.
func mustRefuseAll(t *testing.T, s *shift, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	draft := supervisor.Draft[extra]{Desired: supervisor.Running, Config: "run"}
	_, created := s.Create(ctx, id, draft)
	_, got := s.Get(id)
	_, updated := s.Update(ctx, id, 0, draft)
	_, restarted := s.Restart(ctx, id)
	for what, err := range map[string]error{"create": created, "get": got, "update": updated, "restart": restarted, "delete": s.Delete(ctx, id)} {
		if !errors.Is(err, supervisor.ErrQuarantined) {
			t.Errorf("%s of %s: %v, want ErrQuarantined", what, id, err)
		}
	}
}
