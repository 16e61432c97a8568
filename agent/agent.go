package agent

import (
	"context"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor/process"
)

// The layout below the state directory.
const (
	unitsDir  = "clients"
	engineDir = "engine"
)

// How an engine is started: rathole -c <state>/clients/<id>/conf/client.toml.
const (
	engineFlag = "-c"
	configName = "client.toml"
)

// Agent is the service. Run it once; its routes are the Handler.
type Agent struct {
	cfg    Config
	engine *engine.Engine
	sup    *supervisor.Supervisor[spec]
	api    *httpapi.API
	byID   service.Keyed
	seen   service.Transitions
}

// New checks the config and makes the service; nothing runs until Run. The caller holds the state directory's lock.
func New(cfg Config) (*Agent, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	units := filepath.Join(cfg.State, unitsDir)
	store, err := supervisor.NewDirectory(units, cfg.Crash)
	if err != nil {
		return nil, err
	}
	backend, err := process.New(process.Config{
		Units: units, Logs: cfg.Logs, Flag: engineFlag, ConfigName: configName,
		Env: engine.Environment(), Log: cfg.Log, Crash: cfg.Crash,
	})
	if err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, engine: engine.New(cfg.Binary, filepath.Join(cfg.State, engineDir))}
	a.sup = supervisor.New(supervisor.Config[spec]{
		Store: store, Backend: backend, Rules: rules{engine.Rules[spec]{Engine: a.engine, Rest: rest}},
		Log: cfg.Log, UIDs: cfg.UIDs, Gone: a.seen.Forget, StopOnExit: cfg.StopOnExit, BackoffMin: cfg.BackoffMin, Crash: cfg.Crash,
	})
	a.api = httpapi.New(httpapi.Config{
		Title: "rathole-agent", Version: cfg.Version, Token: cfg.Token, Log: cfg.Log,
		Problem: engine.Problem, Health: a.health, Ready: a.sup.IsReady, Alarm: a.sup.Alarm,
		Collectors: []prometheus.Collector{collector{a}, service.GuardMetrics{Guard: a.sup}},
	})
	a.routes()
	service.ReconcileRoutes(a.api, a.sup)
	return a, nil
}

// Run supervises the clients until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	if b, err := a.engine.Binary(ctx); err != nil {
		a.cfg.Log.Error("no engine: no client can be started until there is one", "error", err)
	} else {
		a.cfg.Log.Info("engine", "path", b.Path, "version", b.Version, "features", b.Features)
	}
	return a.sup.Run(ctx)
}

func (a *Agent) health() api.Health {
	return api.Health{
		Service: "rathole-agent", Version: a.cfg.Version, APILevel: api.Level,
		Features: []string{}, Engine: a.engine.Version(),
	}
}
