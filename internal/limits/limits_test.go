package limits_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/limits"
)

const unlimited = unix.RLIM_INFINITY

// machine is a made-up Kernel: its files, by path, and its limits of resources.
func machine(files map[string]string, rlimits map[int]uint64) limits.Kernel {
	return limits.Kernel{
		ReadFile: func(path string) ([]byte, error) {
			text, found := files[path]
			if !found {
				return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
			}
			return []byte(text), nil
		},
		ReadDir: func(string) ([]string, error) { return []string{"1", "77", "78", "self", "sys"}, nil },
		Limit: func(r int) (uint64, error) {
			n, found := rlimits[r]
			if !found {
				n = unlimited
			}
			return n, nil
		},
	}
}

// roomy are the files of a machine on which nothing is short, with version 2 of cgroups.
func roomy(change map[string]string) map[string]string {
	files := map[string]string{
		"/proc/self/cgroup":            "0::/system.slice/rathole-manager.service\n",
		"/proc/self/mountinfo":         "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n",
		"/proc/loadavg":                "0.16 1.28 2.79 1/9000 17866\n",
		"/proc/sys/kernel/pid_max":     "32768\n",
		"/proc/sys/kernel/threads-max": "192730\n",
		"/proc/sys/fs/file-nr":         "593\t0\t1000\n",
		"/proc/meminfo":                "MemTotal: 100 kB\nMemAvailable:   20480 kB\n",
		"/proc/vmstat":                 "oom_kill 3\n",
		"/proc/1/status":               "Uid:\t0\t0\t0\t0\nThreads:\t1\n",
		"/proc/77/status":              "Uid:\t200001\t200001\t200001\t200001\nThreads:\t4\n",
		"/proc/78/status":              "Uid:\t200001\t0\t0\t0\nThreads:\t3\n",
		inService + "pids.max":         "max\n",
		inService + "memory.max":       "max\n",
		inService + "memory.events":    "low 0\noom 1\noom_kill 2\n",
	}
	maps.Copy(files, change)
	return files
}

const inService = "/sys/fs/cgroup/system.slice/rathole-manager.service/"

// TestTheReachedLimitIsNamed lets a fork fail on machines that differ in what is short.
func TestTheReachedLimitIsNamed(t *testing.T) {
	t.Parallel()
	hybrid := map[string]string{
		"/proc/self/cgroup":    "8:pids:/docker/abc/worker\n4:memory:/docker/abc\n0::/\n",
		"/proc/self/mountinfo": "31 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n33 24 0:29 /docker/abc /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
	}
	contained := roomy(hybrid)
	contained["/sys/fs/cgroup/pids/worker/pids.max"], contained["/sys/fs/cgroup/pids/worker/pids.current"] = "10\n", "10\n"
	for name, tc := range map[string]struct {
		files map[string]string
		nproc uint64
		says  []string
	}{
		"this cgroup": {
			roomy(map[string]string{inService + "pids.max": "40\n", inService + "pids.current": "40\n"}), unlimited,
			[]string{"pids.max of cgroup /system.slice/rathole-manager.service is 40, and 40 are in use", "TasksMax="},
		},
		"a cgroup around it": {
			roomy(map[string]string{"/sys/fs/cgroup/system.slice/pids.max": "400\n", "/sys/fs/cgroup/system.slice/pids.current": "398\n"}), unlimited,
			[]string{"pids.max of cgroup /system.slice is 400, and 398 are in use"},
		},
		"version 1, in a container": {
			contained, unlimited,
			[]string{"pids.max of cgroup /worker is 10", "--pids-limit"},
		},
		"pid_max": {
			roomy(map[string]string{"/proc/sys/kernel/pid_max": "9003\n"}), unlimited,
			[]string{"kernel.pid_max is 9003, and 9000 are in use", "sysctl -w kernel.pid_max=", "/etc/sysctl.d/"},
		},
		"pid_max of a namespace": {
			roomy(map[string]string{"/proc/sys/kernel/pid_max": "9\n"}), unlimited,
			[]string{"kernel.pid_max is 9, and 8 are in use"},
		},
		"threads-max":         {roomy(map[string]string{"/proc/sys/kernel/threads-max": "9000\n"}), unlimited, []string{"kernel.threads-max is 9000, and 9000 are in use"}},
		"the user's":          {roomy(nil), 8, []string{"RLIMIT_NPROC of user 200001 is 8, and 7 are in use", "LimitNPROC="}},
		"none, so far it can": {roomy(nil), 500, []string{"not reached now", "RLIMIT_NPROC of user 200001 is 500"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := machine(tc.files, map[int]uint64{unix.RLIMIT_NPROC: tc.nproc})
			trouble, found := k.Explain(fmt.Errorf("start: %w", &fs.PathError{Op: "fork/exec", Path: "/x", Err: unix.EAGAIN}), 200001)
			if !found || trouble.Reason != limits.Processes {
				t.Errorf("%t %+v", found, trouble)
			}
			mustSay(t, trouble.Message, tc.says...)
		})
	}
	root := machine(roomy(nil), map[int]uint64{unix.RLIMIT_NPROC: 1})
	if said := root.Processes(0); strings.Contains(said.Message, "RLIMIT_NPROC") {
		t.Errorf("root is not bound by it: %s", said.Message)
	}
}

func mustSay(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%q does not say %q", text, word)
		}
	}
}

// TestExplain goes through the errors of system calls.
func TestExplain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(err error) error {
		return errors.Join(fmt.Errorf("write: %w", &fs.PathError{Op: "write", Path: dir + "/is/not/there", Err: err}), errors.New("another"))
	}
	k := machine(roomy(nil), map[int]uint64{unix.RLIMIT_NOFILE: 1024})
	for name, tc := range map[string]struct {
		err    error
		reason limits.Reason // empty: none
		says   []string
	}{
		"own descriptors":       {in(unix.EMFILE), limits.OpenFiles, []string{"RLIMIT_NOFILE is 1024", "LimitNOFILE=65536"}},
		"all descriptors":       {in(unix.ENFILE), limits.OpenFiles, []string{"fs.file-max is 1000, and 593 are in use", "sysctl -w fs.file-max="}},
		"no space":              {in(unix.ENOSPC), limits.DiskFull, []string{"the disk of " + dir + " is full", "inodes are free", "RATHOLE_STATE_DIR"}},
		"no space for a rename": {&os.LinkError{Op: "rename", Old: "/x", New: dir, Err: unix.ENOSPC}, limits.DiskFull, []string{dir}},
		"quota":                 {in(unix.EDQUOT), limits.DiskFull, []string{"quota", dir}},
		"read-only":             {in(unix.EROFS), limits.ReadOnly, []string{dir + " is on a disk", "mount -o remount,rw /"}},
		"memory":                {in(unix.ENOMEM), limits.Memory, []string{"20 MiB are available"}},
		"not a fork":            {in(unix.EAGAIN), "", nil},
		"another error":         {in(unix.EACCES), "", nil},
		"none":                  {nil, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trouble, found := k.Explain(tc.err, 0)
			if trouble.Reason != tc.reason || found != (tc.reason != "") {
				t.Errorf("%t %+v", found, trouble)
			}
			mustSay(t, trouble.Message, tc.says...)
		})
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	bounded := machine(roomy(map[string]string{inService + "memory.max": "268435456\n", inService + "memory.current": "268000000\n"}), nil)
	mustSay(t, bounded.Memory().Message, "memory.max of cgroup /system.slice/rathole-manager.service is 256 MiB, and 255 MiB are in use", "MemoryMax=")
	if n := bounded.OOMKills(); n != 2 {
		t.Errorf("the cgroup counts %d kills", n)
	}
	plain := machine(roomy(map[string]string{"/proc/self/cgroup": "0::/\n", "/proc/self/mountinfo": ""}), nil)
	mustSay(t, plain.Killed(1), "kills: 1", "20 MiB are available")
	if n := plain.OOMKills(); n != 3 {
		t.Errorf("the machine counts %d kills", n)
	}
}

func TestInotify(t *testing.T) {
	t.Parallel()
	k := machine(map[string]string{"/proc/sys/fs/inotify/max_user_instances": "128\n"}, nil)
	mustSay(t, k.Inotify().Message, "fs.inotify.max_user_instances is 128", "sysctl -w fs.inotify.max_user_instances=65536")
}

// TestThisMachine reads the real files: each limit has a value, and what is in use is not more than it.
func TestThisMachine(t *testing.T) {
	t.Parallel()
	k := limits.This()
	seen := ""
	for _, l := range k.Threads(1) {
		seen += l.Name + " "
		if l.Max == 0 || l.Used > l.Max || l.Mend == "" {
			t.Errorf("%+v", l)
		}
	}
	mustSay(t, seen, "kernel.pid_max", "kernel.threads-max", "RLIMIT_NPROC of user 1")
	if why := limits.Unwritable(t.TempDir()); why != "" {
		t.Error(why)
	}
	mustSay(t, limits.Unwritable("/proc/none"), "/proc/none cannot be written", "RATHOLE_LOG_DIR")
}
