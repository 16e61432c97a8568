package packaging_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// userOfTheImages is the one that the Dockerfile makes.
const userOfTheImages = 65532

// TestContainers starts what each image starts, with its environment and the rights that the compose file gives, as process
// 1 of a PID namespace: as root, and as the images' own user. Its health check must say that it is well, and SIGTERM must
// end it, engines and all, in less time than Docker allows.
func TestContainers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("this needs root")
	}
	dir := testkit.StateDir(t)
	bin := filepath.Join(dir, "usr/local/bin")
	testkit.Build(t, bin, "./manager/rathole-manager", "./agent/rathole-agent")
	engine, err := os.ReadFile(testkit.Rathole(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "rathole"), engine, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"manager", "agent"} {
		for _, user := range []int{0, userOfTheImages} {
			t.Run(fmt.Sprint(name, " as user ", user), func(t *testing.T) {
				t.Parallel()
				runContainer(t, bin, name, user)
			})
		}
	}
}

func runContainer(t *testing.T, bin, name string, user int) {
	t.Helper()
	i, address := newImage(t, name), testkit.Address(t).String()
	root := testkit.StateDir(t)
	here := strings.NewReplacer("/usr/local/bin", bin, "/var/", root+"/var/")
	env := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "RATHOLE_TOKEN=" + testkit.Token, "RATHOLE_LISTEN=" + address + ":" + i.expose}
	if name == "manager" {
		env = append(env, "RATHOLE_BIND_ADDRESS="+address)
	}
	for variable, value := range i.env {
		env = append(env, variable+"="+here.Replace(value))
	}
	for _, volume := range i.volumes {
		if err := errors.Join(os.MkdirAll(here.Replace(volume), 0o711), os.Chown(here.Replace(volume), userOfTheImages, userOfTheImages)); err != nil {
			t.Fatal(err)
		}
	}
	rights := []string{"--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"}
	if user == 0 {
		rights[2] += ",+" + strings.ToLower(strings.Join(i.composition.Add, ",+"))
	} else {
		rights = append(rights, fmt.Sprintf("--reuid=%d", user), fmt.Sprintf("--regid=%d", user), "--clear-groups")
	}
	args := append([]string{"-c", `mount -t proc proc /proc && exec setpriv "$@"`, "sh"}, rights...)
	cmd := exec.Command("/bin/sh", append(args, here.Replace(i.entrypoint[0]))...)
	cmd.Env = env
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}
	err := cmd.Start()
	if errors.Is(err, syscall.EPERM) {
		t.Skipf("this machine lets nobody make a PID namespace: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // and the kernel kills all that is in there

	wait.Eventually(t, 20*time.Second, func() error {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("it has ended, %v:\n%s", err, said.String())
		default:
		}
		check := exec.CommandContext(t.Context(), filepath.Join(bin, i.health[0]), i.health[1:]...)
		check.Env = env
		out, err := check.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("the health check says %s: %w", out, err)
		}
		return err
	})
	engines := 0
	if name == "manager" {
		engines = mustRunEngine(t, "http://"+address+":"+i.expose, root, user)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ends with %v:\n%s", err, said.String())
		}
	case <-time.After(20 * time.Second):
		t.Errorf("it does not end by SIGTERM:\n%s", said.String())
	}
	if engines != 0 {
		if err := syscall.Kill(engines, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("an engine is left: %v", err)
		}
	}
}

// mustRunEngine makes an instance, and returns the process of its engine, which must run as the right user: that of the
// container, or one of its own if the container's is root.
func mustRunEngine(t *testing.T, url, root string, user int) (pid int) {
	t.Helper()
	m, err := client.NewManager(client.Config{URL: url, Token: secret.New(testkit.Token)})
	if err != nil {
		t.Fatal(err)
	}
	made, _, err := m.Create(t.Context(), api.CreateInstance{ServerID: "one", InstanceSpec: api.InstanceSpec{GamePort: 30000}}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		args, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || !strings.Contains(string(args), root) || !strings.Contains(string(args), "/instances/one/") {
			continue
		}
		info, err := os.Stat(filepath.Join("/proc", e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		uid := int(info.Sys().(*syscall.Stat_t).Uid)
		if (user == 0 && uid < 200000) || (user != 0 && uid != user) {
			t.Errorf("the engine runs as user %d", uid)
		}
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	t.Fatalf("no engine of %+v runs", made)
	return 0
}
