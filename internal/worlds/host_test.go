package worlds_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/agent"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	runner "github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/flow"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

// hostVariable makes the test binary a game host: its value is the settings.
const hostVariable = "WORLDS_HOST"

// The cable between the two machines, and their addresses.
const (
	vpsDevice, hostDevice = "worlds0", "worlds1"
	vpsAddress            = "10.77.0.1"
	vpsNewAddress         = "10.77.0.9"
	hostAddress           = "10.77.0.2"
)

// hostSettings are what a game host is started with.
type hostSettings struct {
	State, Logs, Binary string
	UIDs                supervisor.UIDRange
}

// runHost is a machine of its own, with an agent and a game. It does what its standard input says, a line each, and answers
// each with a line: a shell command, or "serve". It ends with its input.
func runHost(text string) int {
	var s hostSettings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	close(done)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var err error
		if lines.Text() == "serve" {
			done = make(chan struct{})
			err = s.serve(ctx, done)
		} else {
			var said []byte
			if said, err = exec.CommandContext(ctx, "sh", "-c", lines.Text()).CombinedOutput(); err != nil {
				err = fmt.Errorf("%w: %s", err, strings.ReplaceAll(string(said), "\n", " "))
			}
		}
		_, _ = fmt.Println(err)
	}
	cancel()
	<-done
	return 0
}

// serve starts the agent and the games; done is closed once the agent has ended.
func (s hostSettings) serve(ctx context.Context, done chan struct{}) error {
	for _, port := range []int{gamePort, otherPort} {
		if _, err := flow.StartGame(netip.MustParseAddr("127.0.0.1"), port); err != nil {
			return err
		}
	}
	ln, err := httpapi.Listener{Address: hostAddress + ":8081", PlainHTTP: true}.Open(ctx)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	svc, err := agent.New(agent.Config{
		State: s.State, Logs: s.Logs, Binary: s.Binary, Token: secret.New(testkit.Token), UIDs: s.UIDs, StopOnExit: true, Version: "test", Log: log,
	})
	if err != nil {
		return err
	}
	go func() {
		defer close(done)
		if err := runner.Run(ctx, svc, ln, log); err != nil {
			log.Error("the agent ended", "error", err)
		}
	}()
	return nil
}

// host is a game host, as the VPS sees it.
type host struct {
	*client.Agent
	input   io.WriteCloser
	answers *bufio.Reader
}

// startHost starts a host in a network of its own, and connects it to this one by a cable.
func startHost(t *testing.T) *host {
	t.Helper()
	for _, program := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("this needs iproute2: %v", err)
		}
	}
	state := testkit.StateDir(t)
	text, err := json.Marshal(hostSettings{State: state, Logs: state + "/log", Binary: testkit.Rathole(t), UIDs: supervisor.UIDRange{Base: 230000, Count: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe") // it ends with its input
	cmd.Env = append(os.Environ(), hostVariable+"="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	cmd.Stderr = os.Stderr
	h := &host{}
	if h.input, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.answers = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = h.input.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the host: %v", err)
		}
	})
	h.do(t, "true") // it has its network by now
	here(t, fmt.Sprintf("ip link add %s type veth peer name %s netns %d", vpsDevice, hostDevice, cmd.Process.Pid))
	here(t, fmt.Sprintf("ip addr add %s/24 dev %s && ip addr add %s/24 dev %s && ip link set %s up", vpsAddress, vpsDevice, vpsNewAddress, vpsDevice, vpsDevice))
	h.do(t, "ip link set lo up")
	h.do(t, fmt.Sprintf("ip addr add %s/24 dev %s && ip link set %s up", hostAddress, hostDevice, hostDevice))
	h.do(t, "serve")
	if h.Agent, err = client.NewAgent(client.Config{URL: "http://" + hostAddress + ":8081", Token: secret.New(testkit.Token)}); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 10*time.Second, func() error { return h.Ready(t.Context()) })
	return h
}

// do has the host do something.
func (h *host) do(t *testing.T, command string) {
	t.Helper()
	if _, err := fmt.Fprintln(h.input, command); err != nil {
		t.Fatal(err)
	}
	answer, err := h.answers.ReadString('\n')
	if err != nil || answer != "<nil>\n" {
		t.Fatalf("on the host: %s: %s %v", command, answer, err)
	}
}

// here runs a command on the VPS.
func here(t *testing.T, command string) {
	t.Helper()
	if said, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, said)
	}
}

// cut swallows everything that goes over the cable, in both directions, and returns what ends that.
func (h *host) cut(t *testing.T) (heal func()) {
	t.Helper()
	const add, remove = "tc qdisc add dev %s root blackhole", "tc qdisc del dev %s root"
	h.do(t, fmt.Sprintf(add, hostDevice))
	here(t, fmt.Sprintf(add, vpsDevice))
	return func() {
		h.do(t, fmt.Sprintf(remove, hostDevice))
		here(t, fmt.Sprintf(remove, vpsDevice))
	}
}
