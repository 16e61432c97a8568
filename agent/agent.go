package agent

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/events"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/keyed"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor/process"
)

// unitsDir is the directory of the records, below the state directory.
const unitsDir = "clients"

// How an engine is started: rathole -c <state>/clients/<id>/conf/client.toml.
const (
	engineFlag = "-c"
	configName = "client.toml"
)

// Agent is the service. Run it once; its routes are the Handler.
type Agent struct {
	cfg      Config
	engine   *engine.Engine
	sup      *supervisor.Supervisor[spec]
	upgrader *engine.Upgrader[spec]
	api      *httpapi.API
	byID     keyed.Mutex
	doubts   engine.Doubts

	observer *service.Observer[spec]
	history  *service.History[spec]
	metrics  *service.Metrics
	watcher  *watcher
	reach    *reach
	logs     *service.LogWatch[spec]
	healing  *service.Healing
	games    *games
	ends     *service.EndWatch[spec]
	links    *links
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
	a := &Agent{
		cfg: cfg, metrics: service.NewMetrics(), reach: newReach(cfg),
		engine: engine.New(engine.Config{
			Path: cfg.Binary, Dir: filepath.Join(cfg.State, engine.Dir), Program: "rathole-agent", Log: cfg.Log, Crash: cfg.Crash,
		}),
	}
	a.history = &service.History[spec]{Journal: events.Open(filepath.Join(cfg.Logs, events.FileName), events.Options{Log: cfg.Log}), Metrics: a.metrics}
	a.sup = supervisor.New(supervisor.Config[spec]{
		Store: store, Backend: backend, Rules: newRules(a.engine, &a.doubts),
		Log: cfg.Log, UIDs: cfg.UIDs, Gone: a.gone, Event: a.history.Happened, Reconciled: a.metrics.Reconciled,
		StopOnExit: cfg.StopOnExit, BackoffMin: cfg.BackoffMin, Crash: cfg.Crash,
	})
	a.observe()
	a.upgrader = engine.NewUpgrader(a.engine, engine.Fleet[spec]{Supervisor: a.sup, Lock: a.byID.Lock, Conditions: a.observer.Conditions})
	a.api = httpapi.New(httpapi.Config{
		Title: "rathole-agent", Version: cfg.Version, Token: cfg.Token, Log: cfg.Log,
		Problem: engine.Problem, Health: a.health, Ready: a.sup.IsReady, Alarm: a.sup.Alarm,
		Component: "agent", Shared: a.sharedMetrics(), Collectors: a.ownMetrics(),
	})
	a.routes()
	service.ReconcileRoutes(a.api, a.sup)
	a.upgrader.Routes(a.api)
	return a, nil
}

// Run supervises the clients until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	a.engine.Report(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg  sync.WaitGroup
		err error
	)
	wg.Go(func() {
		defer cancel()
		err = a.sup.Run(ctx)
	})
	wg.Go(func() {
		select {
		case <-a.sup.Ready():
		case <-ctx.Done():
			return
		}
		wg.Go(func() { a.logs.Run(ctx) })
		wg.Go(func() { a.games.run(ctx) })
		wg.Go(func() { a.links.run(ctx) })
		wg.Go(func() { a.ends.Run(ctx) })
		wg.Go(func() { a.reach.run(ctx) })
		a.observer.Run(ctx)
	})
	wg.Go(func() { a.upgrader.Run(ctx) })
	wg.Wait()
	return errors.Join(err, a.history.Journal.Close())
}

// observe makes what looks at the clients from outside.
func (a *Agent) observe() {
	a.healing = &service.Healing{Tell: a.history.Tell}
	a.games = &games{
		list: a.sup.List, bounce: a.bounce, log: a.cfg.Log,
		may: func(id, message string) bool { return a.healing.Begin(id, remedyGameRestarted(), message) },
	}
	a.links = newLinks()
	a.watcher = &watcher{healing: a.healing, links: a.links}
	a.games.here, a.games.wake = &a.watcher.here, make(chan struct{}, 1)
	a.observer = service.NewObserver(service.ObserverConfig[spec]{
		List: a.sup.List, Get: a.sup.Get, Look: a.watcher.look, Tell: a.history.Tell, Log: a.cfg.Log, Looked: a.metrics.Looked,
	})
	a.links.list, a.links.get, a.links.poke, a.links.restart = a.sup.List, a.sup.Get, a.observer.Poke, a.renew
	a.links.healing, a.links.log = a.healing, a.cfg.Log
	a.logs = &service.LogWatch[spec]{
		List: a.sup.List, Tell: a.history.Tell, Hint: a.observer.Hint, Linked: a.observer.Linked, Log: a.cfg.Log,
		Warnings: map[rathole.Kind]string{
			rathole.KindConfigInvalid:    "the engine refuses its new config, and goes on with the one that it has",
			rathole.KindAuthFailed:       "the server refuses the service's token: hand this agent the instance's newest client config",
			rathole.KindServiceUnknown:   "the server does not know the service: hand this agent the instance's newest client config",
			rathole.KindProtocolMismatch: "a service is tcp on one side and udp on the other: hand this agent the instance's newest client config",
			rathole.KindLookupFailed:     "the server's name cannot be resolved: check the name, and this host's DNS",
			rathole.KindHeartbeatTimeout: "the server has fallen silent: is the network between cut?",
			rathole.KindHandshakeFailed:  "the two sides do not speak the same transport, or their keys differ",
		},
	}
	a.ends = &service.EndWatch[spec]{Observer: a.observer, Of: (&ends{list: a.sup.List, games: a.games}).lostBy, Silent: a.games.untold, Log: a.cfg.Log}
	a.history.Observer = a.observer
	a.history.Remember()
}

// gone is told that nothing of a client is left.
func (a *Agent) gone(id string) {
	a.healing.Forget(id)
	a.links.forget(id)
	a.doubts.Forget(id)
}

func (a *Agent) health() api.Health {
	return api.Health{
		Service: "rathole-agent", Version: a.cfg.Version, APILevel: api.Level,
		Features: []string{"events", "upgrade", "wait"}, Engine: a.engine.Version(),
	}
}
