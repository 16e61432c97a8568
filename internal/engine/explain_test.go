package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	const (
		listening = "2026-11-24T12:05:20.607128Z  INFO rathole::server: Listening at 127.0.0.1:10000\n"
		watching  = `2026-11-24T12:05:20.608128Z  INFO config_watcher{path="x"}: rathole::config_watcher: Start watching the config` + "\n"
		panicked  = "thread 'main' panicked at src/server.rs:85:\ncalled `Result::unwrap()` on an `Err` value: Failed to listen at `server.bind_addr`\n\n" +
			"Caused by:\n    Address already in use (os error 98)\nnote: run with `RUST_BACKTRACE=1`\n"
	)
	for name, tc := range map[string]struct {
		exit     supervisor.Exit
		log, err string
		watches  bool
		reason   string
		says     string
	}{
		"control port taken":              {supervisor.Exit{Known: true, Code: -1, Signal: "SIGABRT"}, "", panicked, true, ReasonControlPortInUse, "control port"},
		"control port taken, adopted":     {supervisor.Exit{}, "", panicked, true, ReasonControlPortInUse, "control port"},
		"inotify exhausted":               {supervisor.Exit{Known: true}, listening, "", true, ReasonInotifyExhausted, "fs.inotify.max_user_instances"},
		"exit 0 of a build without watch": {supervisor.Exit{Known: true}, listening, "", false, ReasonExited, "code 0"},
		"told to end":                     {supervisor.Exit{Known: true}, listening + watching, "", true, ReasonExited, "code 0"},
		"config refused":                  {supervisor.Exit{Known: true, Code: 1}, "", "Error: unknown field `x`\n", true, ReasonConfigRefused, "unknown field `x`"},
		"killed":                          {supervisor.Exit{Known: true, Code: -1, Signal: "SIGKILL"}, listening + watching, "", true, ReasonExited, "SIGKILL"},
		"killed without a word":           {supervisor.Exit{Known: true, Code: -1, Signal: "SIGKILL"}, "", "", true, ReasonExited, "SIGKILL"},
		"no file left":                    {supervisor.Exit{Known: true, Code: -1, Signal: "SIGABRT"}, "", "thread 'main' panicked\nFailed building the Runtime: Os { code: 24, kind: Uncategorized, message: \"Too many open files\" }\n", true, "open_files_exhausted", "RLIMIT_NOFILE is "},
		"no thread left":                  {supervisor.Exit{Known: true, Code: -1, Signal: "SIGABRT"}, "", "thread 'main' panicked\nOS can't spawn worker thread: Resource temporarily unavailable (os error 11)\nstack backtrace:\n", true, "processes_exhausted", "in use"},
		"log disk full": {
			supervisor.Exit{Known: true, Code: -1, Signal: "SIGABRT"},
			"",
			"[tracing-subscriber] Unable to write an event to the Writer for this Subscriber! Error: No space left on device (os error 28)\n\nthe cause\n", true,
			ReasonExited, "SIGABRT; its last words: the cause",
		},
		"no memory left":            {supervisor.Exit{Known: true, Code: -1, Signal: "SIGABRT"}, listening + watching, "memory allocation of 65536 bytes failed\n", true, "memory_exhausted", "no memory left"},
		"killed for memory":         {supervisor.Exit{Known: true, Code: -1, Signal: "SIGKILL", OOMKills: 2}, listening + watching, "", true, "memory_exhausted", "was ended by SIGKILL; the kernel's out-of-memory killer has been at work (kills: 2)"},
		"ended late without a word": {supervisor.Exit{Known: true, At: time.Time{}.Add(time.Minute)}, listening, "", true, ReasonExited, "code 0"},
		"adopted":                   {supervisor.Exit{}, listening, "", true, ReasonExited, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := supervisor.Process{Log: filepath.Join(dir, "x.log"), ErrLog: filepath.Join(dir, "x.err"), Exit: &tc.exit}
			// An earlier process has said that it watched: that is not this one's word.
			earlier := watching
			p.LogOffset = int64(len(earlier))
			for path, text := range map[string]string{p.Log: earlier + tc.log, p.ErrLog: tc.err} {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			f := explain(p, tc.watches, 0)
			if f.Reason != tc.reason || !strings.Contains(f.Message, tc.says) {
				t.Errorf("%s: %s; want %s with %q", f.Reason, f.Message, tc.reason, tc.says)
			}
			if tc.log == "" && strings.Contains(f.Message, "Start watching") {
				t.Errorf("it takes the words of an earlier process for this one's: %s", f.Message)
			}
		})
	}
}
