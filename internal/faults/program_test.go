package faults_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/satishost/terraform-provider-rathole/agent"
	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/manager"
)

// programVariable makes the test binary a manager or an agent: its value is the settings.
const programVariable = "FAULTS_PROGRAM"

func TestMain(m *testing.M) {
	text := os.Getenv(programVariable)
	if text == "" {
		parallel := "8" // these tests wait more than they work
		if users(240000).Count == 0 {
			parallel = "2" // but all engines of one user share its 128 inotify instances
		}
		if err := flag.Set("test.parallel", parallel); err != nil {
			panic(err)
		}
		os.Exit(m.Run())
	}
	if err := runProgram(text); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// settings are what a program is started with.
type settings struct {
	Kind   kind // of program
	Listen string
	Bind   netip.Addr // of the manager's ports
	State  string
	Binary string
	UIDs   supervisor.UIDRange
	// Leak makes it keep something of each change that it carries out.
	Leak bool
	// Crash is the crash point at whose Hit-th hit the program kills itself, as if the power had gone.
	Crash string
	Hit   int32
}

type kind string

const (
	managers kind = "manager"
	agents   kind = "agent"
)

// units is the directory of the records, within the state directory.
func (k kind) units() string {
	if k == managers {
		return "instances"
	}
	return "clients"
}

// runProgram does what the real programs do, until its standard input ends: when the test ends, by whatever end, no
// service and no engine stays behind. A kill leaves the engines running. Each line of input is answered by measures.
func runProgram(text string) error {
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		answerMeasures()
		cancel()
	}()
	lock, err := supervisor.LockState(s.State)
	if err != nil {
		return err
	}
	defer lock.Close()
	ln, err := httpapi.Listener{Address: s.Listen}.Open(ctx)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	svc, err := s.service(ln.Addr().(*net.TCPAddr).Port, log)
	if err != nil {
		return err
	}
	if s.Leak {
		svc = leaky{svc}
	}
	return service.Run(ctx, svc, ln, log)
}

func (s settings) service(port int, log *slog.Logger) (service.Service, error) {
	logs, token := filepath.Join(s.State, "log"), secret.New(testkit.Token)
	if s.Kind == managers {
		return manager.New(manager.Config{
			APIPort: port, Bind: s.Bind, State: s.State, Logs: logs, Binary: s.Binary, Token: token, UIDs: s.UIDs,
			// Few enough that a port which is given back is soon given again.
			Control: []api.PortRange{{Start: 10000, End: 10063}}, Public: []api.PortRange{{Start: 30000, End: 30127}},
			StopOnExit: true, Version: "test", Log: log, Crash: s.crash(),
		})
	}
	return agent.New(agent.Config{
		State: s.State, Logs: logs, Binary: s.Binary, Token: token, UIDs: s.UIDs,
		StopOnExit: true, Version: "test", Log: log, Crash: s.crash(),
	})
}

func (s settings) crash() func(string) {
	var hits atomic.Int32
	return func(point string) {
		if point == s.Crash && hits.Add(1) == s.Hit {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}
