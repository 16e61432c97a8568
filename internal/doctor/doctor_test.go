package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/doctor"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

const (
	goodToken  = "0123456789abcdef-good"
	goodRecord = `{"schema": 1, "id": "srv0", "uid": "u", "revision": 3, "desired": "running", "spec": {"any": ["thing"]}}`
	inotify    = "/proc/sys/fs/inotify/max_user_instances"
	pidMax     = "/proc/sys/kernel/pid_max"
)

// machine is a made-up System, to be changed by a test before it is asked.
type machine struct {
	doctor.System
	files  map[string]string
	modes  map[string]doctor.Place
	space  doctor.Space
	limits map[int]uint64
	units  int
	locked bool

	engines map[int]string // units by pid
}

// healthy is a machine on which every check is ok: root on a VPS, the service not started yet.
func healthy() (*machine, doctor.Settings) {
	m := &machine{
		files:  map[string]string{inotify: "128\n", pidMax: "32768\n", "/proc/sys/kernel/threads-max": "192730\n"},
		modes:  map[string]doctor.Place{"/": {Mode: fs.ModeDir | 0o755}, "/var/lib": {Mode: fs.ModeDir | 0o755}},
		space:  doctor.Space{Bytes: 20 << 30, Inodes: 1 << 20, Counted: true},
		limits: map[int]uint64{unix.RLIMIT_NOFILE: 65536, unix.RLIMIT_NPROC: 30000},
	}
	ok := func(string) error { return nil }
	m.System = doctor.System{
		Now: func() time.Time { return time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC) },
		ReadFile: func(path string) ([]byte, error) {
			text, found := m.files[path]
			if !found {
				return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
			}
			return []byte(text), nil
		},
		ReadDir: func(string) ([]string, error) {
			names := []string{".new-x", ".trash-y"}
			for i := range m.units {
				names = append(names, fmt.Sprint("srv", i))
			}
			return names, nil
		},
		Stat: func(path string) (doctor.Place, error) {
			p, found := m.modes[path]
			if !found {
				return p, fs.ErrNotExist
			}
			return p, nil
		},
		Space:       func(string) (doctor.Space, error) { return m.space, nil },
		TryWrite:    ok,
		MayWrite:    ok,
		Locked:      func(string) (bool, error) { return m.locked, nil },
		Limit:       func(r int) (uint64, error) { return m.limits[r], nil },
		TakeInotify: func() error { return nil },
		Engine: func(context.Context, string) (rathole.Binary, error) {
			return rathole.Binary{
				Path: "/usr/bin/rathole", Version: "0.5.0", Features: []string{"hot-reload", "noise"}, SHA256: strings.Repeat("ab", 32),
			}, nil
		},
		Engines:    func(string, string, string) (map[int]string, error) { return m.engines, nil },
		UsableUIDs: func(supervisor.UIDRange, string) error { return nil },
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			ip, err := netip.ParseAddr(host)
			return []netip.Addr{ip}, err
		},
		Bindable: func(api.Protocol, netip.AddrPort) error { return nil },
		Holder: func(context.Context, api.Protocol, netip.AddrPort) (sockets.Owner, bool, error) {
			return sockets.Owner{PID: 812, Program: "nginx"}, true, nil
		},
	}
	return m, doctor.Settings{
		State: "/var/lib/x", Logs: "/var/log/x", Units: "units", BinarySetting: "RATHOLE_BINARY", UIDs: "200000:1000",
		Token: secret.New(goodToken), Listen: "127.0.0.1:7001", Program: "rathole-x",
	}
}

// limitGroup puts the machine's service into a cgroup that limits its threads.
func (m *machine) limitGroup(pids, used string) {
	const dir = "/sys/fs/cgroup/system.slice/x/"
	m.files["/proc/self/cgroup"] = "0::/system.slice/x\n"
	m.files["/proc/self/mountinfo"] = "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
	m.files[dir+"pids.max"], m.files[dir+"pids.current"] = pids, used
}

func find(t *testing.T, findings []doctor.Finding, check string) doctor.Finding {
	t.Helper()
	for _, f := range findings {
		if f.Check == check {
			return f
		}
	}
	t.Fatalf("no check %q", check)
	return doctor.Finding{}
}

func TestAHealthyMachineNeedsNoMending(t *testing.T) {
	t.Parallel()
	m, s := healthy()
	for _, f := range doctor.Common(t.Context(), m.System, s) {
		if f.Status != doctor.OK || f.Mend != "" || f.Value == "" {
			t.Errorf("%+v", f)
		}
	}
}

// TestEachTroubleIsNamed makes one thing of a healthy machine bad, and expects one finding to tell: its verdict, and words
// of its value and its mend.
func TestEachTroubleIsNamed(t *testing.T) {
	t.Parallel()
	shared := func(m *machine, s *doctor.Settings) { s.UIDs = "0" }
	place := func(mode fs.FileMode, owner int) doctor.Place { return doctor.Place{Mode: mode, Owner: owner} }
	for name, tc := range map[string]struct {
		change func(*machine, *doctor.Settings)
		check  string
		status doctor.Status
		says   []string
	}{
		"no engine": {func(m *machine, s *doctor.Settings) {
			m.Engine = func(context.Context, string) (rathole.Binary, error) {
				return rathole.Binary{}, errors.New("no usable rathole at /opt/r: no such file; install it in PATH or set RATHOLE_BINARY to its path")
			}
			s.BinarySetting = "RATHOLE_CLIENT_BINARY"
		}, "engine", doctor.Fail, []string{"/opt/r: no such file", "rathole 0.5.0", "RATHOLE_CLIENT_BINARY"}},
		"no reload": {func(m *machine, _ *doctor.Settings) {
			m.Engine = func(context.Context, string) (rathole.Binary, error) { return rathole.Binary{Version: "0.5.0"}, nil }
		}, "engine", doctor.Warn, []string{"no hot-reload", "no noise", "restarts"}},

		"engine in use is another": {func(m *machine, _ *doctor.Settings) {
			m.files["/var/lib/x/engine/current"] = "0.5.0-cdcdcdcdcdcd\n"
			m.modes["/var/lib/x/engine/0.5.0-cdcdcdcdcdcd/rathole"] = place(0o755, 0)
		}, "engine in use", doctor.Warn, []string{"0.5.0-cdcdcdcdcdcd", "0.5.0-abababababab", "/usr/bin/rathole", "rathole-x upgrade"}},
		"engine in use is gone": {func(m *machine, _ *doctor.Settings) {
			m.files["/var/lib/x/engine/current"] = "0.5.0-abababababab\n"
		}, "engine in use", doctor.Warn, []string{"0.5.0-abababababab", "gone"}},
		"engine in use unreadable": {func(m *machine, _ *doctor.Settings) {
			m.files["/var/lib/x/engine/current"] = "../x\n"
		}, "engine in use", doctor.Warn, []string{"names no build"}},

		"users malformed":    {func(_ *machine, s *doctor.Settings) { s.UIDs = "many" }, "engines' users", doctor.Fail, []string{"RATHOLE_UNIT_UIDS"}},
		"one user by choice": {shared, "engines' users", doctor.Warn, []string{"user 0", "inotify"}},
		"one user by need": {func(m *machine, _ *doctor.Settings) {
			m.UID = 1000
			m.UsableUIDs = func(supervisor.UIDRange, string) error { return errors.New("this service does not run as root") }
		}, "engines' users", doctor.Warn, []string{"user 1000", "does not run as root", "signal"}},

		"inotify shared": {shared, "inotify instances", doctor.Warn, []string{"fewer than 128", "sysctl -w fs.inotify.max_user_instances=65536", "/etc/sysctl.d/"}},
		"inotify exhausted": {func(m *machine, s *doctor.Settings) {
			shared(m, s)
			m.TakeInotify = func() error { return errors.New("none") }
		}, "inotify instances", doctor.Fail, []string{"none is left", "sysctl -w"}},
		"inotify too few": {func(m *machine, s *doctor.Settings) { shared(m, s); m.units = 128 }, "inotify instances", doctor.Fail, []string{"128 records", "sysctl -w"}},
		"inotify unknown": {func(m *machine, _ *doctor.Settings) { delete(m.files, inotify) }, "inotify instances", doctor.Warn, []string{inotify}},

		"files few":     {func(m *machine, _ *doctor.Settings) { m.limits[unix.RLIMIT_NOFILE] = 512 }, "open files", doctor.Warn, []string{"512: enough for 112", "LimitNOFILE"}},
		"files too few": {func(m *machine, _ *doctor.Settings) { m.limits[unix.RLIMIT_NOFILE] = 4096; m.units = 1345 }, "open files", doctor.Fail, []string{"1345 records"}},
		"pids few":      {func(m *machine, _ *doctor.Settings) { m.files[pidMax] = "2000" }, "machine's threads", doctor.Warn, []string{"fewer than 500", "kernel.pid_max", "sysctl -w kernel.pid_max="}},
		"pids too few":  {func(m *machine, _ *doctor.Settings) { m.files[pidMax] = "2000"; m.units = 501 }, "machine's threads", doctor.Fail, []string{"501 records"}},
		"pids spent":    {func(m *machine, _ *doctor.Settings) { m.files["/proc/loadavg"] = "0 0 0 1/32766 1" }, "machine's threads", doctor.Fail, []string{"32766 in use", "no engine can be started"}},
		"pids unknown":  {func(m *machine, _ *doctor.Settings) { delete(m.files, pidMax) }, "machine's threads", doctor.Warn, []string{pidMax}},
		"a cgroup's threads": {
			func(m *machine, _ *doctor.Settings) { m.limitGroup("400\n", "40\n") }, "cgroup's threads", doctor.Warn,
			[]string{"400 (pids.max of cgroup /system.slice/x), 40 in use: enough for fewer than 100", "TasksMax="},
		},
		"a cgroup's threads spent": {func(m *machine, _ *doctor.Settings) { m.limitGroup("400\n", "397\n") }, "cgroup's threads", doctor.Fail, []string{"no engine can be started", "TasksMax="}},
		"a user's threads": {
			func(m *machine, s *doctor.Settings) { m.UID = 1000; s.UIDs = "0"; m.limits[unix.RLIMIT_NPROC] = 400 }, "user's threads", doctor.Warn,
			[]string{"400 (RLIMIT_NPROC of user 1000)", "LimitNPROC"},
		},
		"an engine's threads": {func(m *machine, _ *doctor.Settings) { m.limits[unix.RLIMIT_NPROC] = 3 }, "user's threads", doctor.Fail, []string{"an engine needs 4", "LimitNPROC"}},

		"state open to all": {func(m *machine, _ *doctor.Settings) { m.modes["/var/lib/x"] = place(fs.ModeDir|0o777, 0) }, "state directory", doctor.Warn, []string{"0777", "chmod go-w /var/lib/x"}},
		"state of another":  {func(m *machine, _ *doctor.Settings) { m.modes["/var/lib/x"] = place(fs.ModeDir|0o711, 33) }, "state directory", doctor.Warn, []string{"user 33"}},
		"state is a file":   {func(m *machine, _ *doctor.Settings) { m.modes["/var/lib/x"] = place(0o600, 0) }, "state directory", doctor.Fail, []string{"no directory"}},
		"state not writable": {func(m *machine, _ *doctor.Settings) {
			m.modes["/var/lib/x"] = place(fs.ModeDir|0o711, 0)
			m.TryWrite = func(dir string) error { return fmt.Errorf("write in %s: %w", dir, unix.EROFS) }
		}, "state directory's disk", doctor.Fail, []string{"/var/lib/x", "read-only", "RATHOLE_STATE_DIR"}},
		"parent not writable": {func(m *machine, _ *doctor.Settings) {
			m.MayWrite = func(dir string) error { return unix.EACCES }
		}, "log directory's disk", doctor.Fail, []string{"denied", "RATHOLE_LOG_DIR"}},
		"disk low":   {func(m *machine, _ *doctor.Settings) { m.space.Bytes = 512<<20 - 1 }, "state directory's disk", doctor.Warn, []string{"511 MiB"}},
		"disk full":  {func(m *machine, _ *doctor.Settings) { m.space.Bytes = 64<<20 - 1 }, "log directory's disk", doctor.Fail, []string{"63 MiB"}},
		"inodes low": {func(m *machine, _ *doctor.Settings) { m.space.Inodes = 999 }, "log directory's disk", doctor.Fail, []string{"999 inodes"}},

		"a record is torn": {func(m *machine, _ *doctor.Settings) {
			m.units = 2
			m.files["/var/lib/x/units/srv0/record.json"], m.files["/var/lib/x/units/srv1/record.json"] = goodRecord, "{"
		}, "records", doctor.Fail, []string{"1 of 2", "srv1 (decode", "/var/lib/x/units"}},
		"a record is of another version": {func(m *machine, _ *doctor.Settings) {
			m.units, m.files["/var/lib/x/units/srv0/record.json"] = 1, strings.Replace(goodRecord, "1", "9", 1)
		}, "records", doctor.Fail, []string{"schema 9"}},
		"records are lost": {func(m *machine, _ *doctor.Settings) {
			m.engines = map[int]string{5: "f", 6: "e", 7: "d", 8: "c", 9: "b", 10: "a"}
		}, "engines without record", doctor.Fail, []string{"6 of 6: a, b, c, d, e, …", "rathole-x reconcile --accept-strangers"}},
		"a record is lost": {
			func(m *machine, _ *doctor.Settings) { m.units, m.engines = 1, map[int]string{5: "srv0", 6: "other"} },
			"engines without record", doctor.Warn,
			[]string{"1 of 2: other", "next start"},
		},
		"a record is lost under a service": {func(m *machine, _ *doctor.Settings) {
			m.units, m.engines, m.locked = 1, map[int]string{5: "srv0", 6: "other"}, true
		}, "engines without record", doctor.Fail, []string{"1 of 2: other", "reconcile"}},

		"no token":         {func(_ *machine, s *doctor.Settings) { s.NoAuth = true }, "API token", doctor.Warn, []string{"--no-auth"}},
		"short token":      {func(_ *machine, s *doctor.Settings) { s.Token = secret.New("fifteen-letters") }, "API token", doctor.Warn, []string{"RATHOLE_TOKEN", "openssl"}},
		"token file gone":  {func(_ *machine, s *doctor.Settings) { s.Token, s.TokenFile = secret.String{}, "/etc/token" }, "API token", doctor.Fail, []string{"/etc/token"}},
		"token file empty": {func(m *machine, s *doctor.Settings) { s.Token = secret.String{}; m.files["/var/lib/x/token"] = "\n" }, "API token", doctor.Fail, []string{"empty"}},
		"token for all to read": {func(m *machine, s *doctor.Settings) {
			s.Token, s.TokenFile = secret.String{}, "/etc/token"
			m.files["/etc/token"], m.modes["/etc/token"] = goodToken, place(0o644, 0)
		}, "API token", doctor.Warn, []string{"0644", "chmod 600 /etc/token"}},

		"clear text refused":  {func(_ *machine, s *doctor.Settings) { s.Listen = ":7001" }, "API protection", doctor.Fail, []string{"refuses", "RATHOLE_PLAIN_HTTP"}},
		"clear text allowed":  {func(_ *machine, s *doctor.Settings) { s.Listen, s.PlainHTTP = ":7001", true }, "API protection", doctor.Warn, []string{"in clear"}},
		"half of TLS":         {func(_ *machine, s *doctor.Settings) { s.TLSCert = "/c" }, "API protection", doctor.Fail, []string{"set both"}},
		"certificate missing": {func(_ *machine, s *doctor.Settings) { s.TLSCert, s.TLSKey = "/c", "/k" }, "API protection", doctor.Fail, []string{"/c"}},
		"no address":          {func(_ *machine, s *doctor.Settings) { s.Listen = "7001" }, "API address", doctor.Fail, []string{"RATHOLE_LISTEN"}},
		"address taken": {func(m *machine, _ *doctor.Settings) {
			m.Bindable = func(api.Protocol, netip.AddrPort) error { return unix.EADDRINUSE }
		}, "API address", doctor.Fail, []string{"nginx (pid 812)"}},
		"address perhaps its own": {func(m *machine, _ *doctor.Settings) {
			m.Bindable = func(api.Protocol, netip.AddrPort) error { return unix.EADDRINUSE }
			m.Locked = func(string) (bool, error) { return false, unix.EACCES }
		}, "API address", doctor.Warn, []string{"the service's user"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, s := healthy()
			tc.change(m, &s)
			f := find(t, doctor.Common(t.Context(), m.System, s), tc.check)
			if f.Status != tc.status || f.Mend == "" {
				t.Errorf("%+v, wanted %s", f, tc.status)
			}
			for _, word := range tc.says {
				if !strings.Contains(f.Value+" | "+f.Mend, word) {
					t.Errorf("%+v does not say %q", f, word)
				}
			}
			if strings.Contains(f.Value+f.Mend, s.Token.Reveal()) && !s.Token.IsZero() {
				t.Error("it tells the token")
			}
		})
	}
}

// TestWhatIsNoTrouble are machines that look odd and are fine.
func TestWhatIsNoTrouble(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*machine, *doctor.Settings)
		check  string
		says   string
	}{
		"shared inotify, raised": {func(m *machine, s *doctor.Settings) { s.UIDs = "0"; m.files[inotify] = "1024" }, "inotify instances", "1024"},
		"inotify not needed": {func(m *machine, s *doctor.Settings) {
			s.UIDs = "0"
			m.Engine = func(context.Context, string) (rathole.Binary, error) { return rathole.Binary{}, nil }
		}, "inotify instances", "not needed"},
		"records": {func(m *machine, _ *doctor.Settings) {
			m.units, m.files["/var/lib/x/units/srv0/record.json"] = 1, goodRecord
		}, "records", "all 1"},
		"engines with records": {
			func(m *machine, _ *doctor.Settings) { m.units, m.engines = 1, map[int]string{5: "srv0"} }, "engines without record", "none of 1",
		},
		"no limit":         {func(m *machine, _ *doctor.Settings) { m.limits[unix.RLIMIT_NOFILE] = unix.RLIM_INFINITY }, "open files", "unlimited: enough for unlimited"},
		"root's ulimit -u": {func(m *machine, s *doctor.Settings) { s.UIDs = "0"; m.limits[unix.RLIMIT_NPROC] = 3 }, "user's threads", "unlimited for root"},
		"no cgroup":        {func(*machine, *doctor.Settings) {}, "cgroup's threads", "unlimited"},
		"inodes on demand": {func(m *machine, _ *doctor.Settings) { m.space.Inodes, m.space.Counted = 0, false }, "log directory's disk", "GiB free"},
		"running": {func(m *machine, _ *doctor.Settings) {
			m.locked, m.modes["/var/lib/x"] = true, doctor.Place{Mode: fs.ModeDir | 0o711}
		}, "state directory", "a service runs"},
		"its own port": {func(m *machine, _ *doctor.Settings) {
			m.locked = true
			m.Bindable = func(api.Protocol, netip.AddrPort) error { return unix.EADDRINUSE }
		}, "API address", "own"},
		"token to be made": {func(_ *machine, s *doctor.Settings) { s.Token = secret.String{} }, "API token", filepath.Join("/var/lib/x", "token")},
		"token in its file": {func(m *machine, s *doctor.Settings) {
			s.Token = secret.String{}
			m.files["/var/lib/x/token"] = goodToken
		}, "API token", "in /var/lib/x/token"},
		"no IPv6": {func(m *machine, s *doctor.Settings) {
			s.Listen, s.PlainHTTP = ":7001", true
			m.Bindable = func(_ api.Protocol, a netip.AddrPort) error {
				if a.Addr().Is6() {
					return unix.EAFNOSUPPORT
				}
				return nil
			}
		}, "API address", ":7001"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, s := healthy()
			tc.change(m, &s)
			if f := find(t, doctor.Common(t.Context(), m.System, s), tc.check); f.Status != doctor.OK || !strings.Contains(f.Value, tc.says) {
				t.Errorf("%+v, wanted ok with %q", f, tc.says)
			}
		})
	}
}
