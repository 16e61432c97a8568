// Package service is what the manager's and the agent's programs share beyond HTTP: their flags, their start and stop, and
// small pieces that both services are built from.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/command"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// garbage is by how many percent of what lives, and of the ballast, the heap may grow until it is swept. Go's defaults would cost a
// service with 1,000 units half as much memory again, and one with few units that are being made a sweep for each of them. The
// ballast is never touched, so it takes addresses and no memory.
const (
	garbage = 25
	ballast = 16 << 20
)

// Flags are the settings that both programs have. There is no flag for the token: an argument is seen by every user of
// the machine. RATHOLE_TOKEN or a file has it.
type Flags struct {
	TokenFile  string `help:"File that holds the API token. RATHOLE_TOKEN goes before it; without both, one is generated in the state directory." env:"RATHOLE_TOKEN_FILE" type:"path" placeholder:"FILE"`
	NoAuth     bool   `help:"Answer everybody, without a token. For laptops and tests." env:"RATHOLE_NO_AUTH"`
	TLSCert    string `help:"PEM certificate of the API; with --tls-key it speaks HTTPS." env:"RATHOLE_TLS_CERT" type:"path" placeholder:"FILE"`
	TLSKey     string `help:"PEM key of the API." env:"RATHOLE_TLS_KEY" type:"path" placeholder:"FILE"`
	PlainHTTP  bool   `help:"Allow plain HTTP on an address that is not loopback: the token travels in clear." env:"RATHOLE_PLAIN_HTTP"`
	StateDir   string `help:"Directory of the records (default /var/lib/${name}, or the user's state directory)." env:"RATHOLE_STATE_DIR" type:"path" placeholder:"DIR"`
	LogDir     string `help:"Directory of the engines' logs (default /var/log/${name}, or within the state directory)." env:"RATHOLE_LOG_DIR" type:"path" placeholder:"DIR"`
	UnitUIDs   string `name:"unit-uids" help:"Unix users for the engines, one each, as first:count; 0 runs all as this service's own user (default ${uids} for root)." env:"RATHOLE_UNIT_UIDS" placeholder:"FIRST:COUNT"`
	StopOnExit bool   `help:"Stop the engines on exit, instead of leaving them for the next start." env:"RATHOLE_STOP_ON_EXIT"`
	Metrics    bool   `name:"metrics-per-instance" help:"Show each instance or client by itself in /metrics, beside the sums; false leaves these series out." default:"true" env:"RATHOLE_METRICS_PER_INSTANCE"`
	LogFormat  string `help:"How this service logs: ${enum}." enum:"text,json" default:"text" env:"RATHOLE_LOG_FORMAT"`

	// RestartPause is how long an init waits before it starts a worker that died again, for the first time; 0 is 1 s. Only
	// tests set it, which kill more often than they can wait for.
	RestartPause time.Duration `hidden:"" env:"RATHOLE_RESTART_PAUSE"`
}

// Setup is what Serve prepares for a service.
type Setup struct {
	State, Logs string
	Token       secret.String
	APIPort     int
	UIDs        supervisor.UIDRange
	StopOnExit  bool
	// OmitUnitMetrics leaves the series of single instances or clients out of the metrics.
	OmitUnitMetrics bool
	Log             *slog.Logger
}

// Service is a manager or an agent.
type Service interface {
	Run(ctx context.Context) error
	Handler() http.Handler
}

// Program is what tells the manager's program from the agent's.
type Program struct {
	Name    string
	About   string // one sentence for --help
	Version string
	UIDs    string // default of RATHOLE_UNIT_UIDS
	Kind    command.Kind
}

// Serve runs a service until SIGINT or SIGTERM, or until ctx ends. ready, if not nil, is told the API's address once it
// answers. A second signal ends the program at once.
//
// As process 1, in a container, it does not return: it is an init that runs the service in a worker process, which dies
// and comes back without the tunnels noticing. There SIGTERM stops everything, as if with --stop-on-exit, for the kernel
// would stop it anyway; the exit code is the worker's.
func (f Flags) Serve(ctx context.Context, p Program, listen string, stderr io.Writer, build func(Setup) (Service, error), ready func(net.Addr)) error {
	if os.Getpid() == 1 {
		first, err := newInit(f.RestartPause, f.logger(stderr))
		if err != nil {
			return err
		}
		os.Exit(first.run())
	}
	f.StopOnExit = f.StopOnExit || isWorker()

	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
		defer runtime.KeepAlive(make([]byte, ballast))
	}
	log := f.logger(stderr)
	if err := KeepThreads(); err != nil {
		return err
	}
	state, logs, err := f.directories(p.Name)
	if err != nil {
		return err
	}
	lock, err := supervisor.LockState(state)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	// Engines are known again by the path of their config: by whatever name the directory is given, it must be the same.
	if state, err = filepath.EvalSymlinks(state); err != nil {
		return fmt.Errorf("find the state directory: %w", err)
	}
	token, err := f.token(state, log)
	if err != nil {
		return err
	}
	ln, err := httpapi.Listener{Address: listen, CertFile: f.TLSCert, KeyFile: f.TLSKey, PlainHTTP: f.PlainHTTP}.Open(ctx)
	if err != nil {
		return err
	}
	f.warn(listen, log)
	uids, err := f.uids(p, state, log)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	svc, err := build(Setup{
		State: state, Logs: logs, Token: token, APIPort: ln.Addr().(*net.TCPAddr).Port, UIDs: uids, StopOnExit: f.StopOnExit,
		OmitUnitMetrics: !f.Metrics, Log: log,
	})
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	log.Info("listening", "address", ln.Addr(), "tls", f.TLSCert != "", "state", state, "logs", logs)
	if ready != nil {
		ready(ln.Addr())
	}
	return Run(ctx, svc, ln, log)
}

// Run runs a service and answers for it on ln until ctx ends or the service does. The end has an order: first the last
// request gets its answer, then the service stops, for the requests are carried out by what it runs.
func Run(ctx context.Context, svc Service, ln net.Listener, log *slog.Logger) error {
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	running, stopRunning := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRunning()
	ended := make(chan error, 1)
	go func() {
		defer stopServing()
		ended <- svc.Run(running)
	}()
	err := httpapi.Serve(serving, ln, svc.Handler(), log)
	stopRunning()
	return errors.Join(err, <-ended)
}

func (f Flags) logger(w io.Writer) *slog.Logger {
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

func (f Flags) token(state string, log *slog.Logger) (secret.String, error) {
	if f.NoAuth {
		return secret.String{}, nil
	}
	token, place, err := httpapi.Token(os.Getenv("RATHOLE_TOKEN"), f.TokenFile, state)
	if err == nil && place != "" {
		log.Info("the API token is in a file", "file", place)
	}
	return token, err
}

func (f Flags) warn(listen string, log *slog.Logger) {
	if f.NoAuth {
		log.Warn("--no-auth: whoever reaches this port rules this machine's tunnels")
	}
	if f.PlainHTTP && f.TLSCert == "" && !httpapi.IsLoopback(listen) {
		log.Warn("--plain-http: the API token and the instances' secrets travel in clear")
	}
}

// uids are the users that the engines run as. A wish that cannot be had is told, not fatal: one user for all works too.
func (f Flags) uids(p Program, state string, log *slog.Logger) (supervisor.UIDRange, error) {
	text := f.UnitUIDs
	if text == "" {
		text = p.UIDs
	}
	r, err := supervisor.ParseUIDs(text)
	if err != nil {
		return r, fmt.Errorf("RATHOLE_UNIT_UIDS: %w", err)
	}
	if r.Count == 0 {
		return r, nil
	}
	if err := r.Usable(state); err != nil {
		log.Warn("all engines run as one user: they share its inotify instances, and could signal each other", "why", err)
		return supervisor.UIDRange{}, nil
	}
	return r, nil
}

// directories are where a service keeps records and logs: the system's places for root, the user's own for a user.
func (f Flags) directories(name string) (state, logs string, err error) {
	state, logs = f.StateDir, f.LogDir
	if state == "" {
		state, err = defaultState(name)
		if err != nil {
			return "", "", err
		}
	}
	if state, err = filepath.Abs(state); err != nil {
		return "", "", fmt.Errorf("find the state directory: %w", err)
	}
	switch {
	case logs != "":
	case os.Geteuid() == 0 && f.StateDir == "":
		logs = filepath.Join("/var/log", name)
	default:
		logs = filepath.Join(state, "log")
	}
	if logs, err = filepath.Abs(logs); err != nil {
		return "", "", fmt.Errorf("find the log directory: %w", err)
	}
	return state, logs, nil
}

func defaultState(name string) (string, error) {
	if os.Geteuid() == 0 {
		return filepath.Join("/var/lib", name), nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, name), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find a state directory (set RATHOLE_STATE_DIR): %w", err)
	}
	return filepath.Join(home, ".local", "state", name), nil
}
