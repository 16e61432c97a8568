package manager

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/engine"
	"github.com/satishost/terraform-provider-rathole/internal/events"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
	"github.com/satishost/terraform-provider-rathole/internal/keyed"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/service"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor/process"
)

// unitsDir is the directory of the records, below the state directory.
const unitsDir = "instances"

// How an engine is started: rathole -s <state>/instances/<id>/conf/server.toml.
const (
	engineFlag = "-s"
	configName = "server.toml"
)

// Manager is the service. Run it once; its routes are the Handler.
type Manager struct {
	cfg      Config
	engine   *engine.Engine
	backend  *process.Backend
	sup      *supervisor.Supervisor[spec]
	ports    *ports
	observer *service.Observer[spec]
	watcher  *watcher
	history  *service.History[spec]
	logs     *service.LogWatch[spec]
	ends     *service.EndWatch[spec]
	prober   *prober
	upgrader *engine.Upgrader[spec]
	healing  *service.Healing
	stale    *stale
	metrics  *service.Metrics
	api      *httpapi.API
	byID     keyed.Mutex
	doubts   engine.Doubts
}

// New checks the config and makes the service; nothing runs until Run. The caller holds the state directory's lock.
func New(cfg Config) (*Manager, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	ephemeral, err := sockets.EphemeralRange()
	if err != nil {
		return nil, fmt.Errorf("read the range of ephemeral ports: %w", err)
	}
	units := filepath.Join(cfg.State, unitsDir)
	store, err := supervisor.NewDirectory(units, cfg.Crash)
	if err != nil {
		return nil, err
	}
	backend, err := process.New(process.Config{
		Units: units, Logs: cfg.Logs, Flag: engineFlag, ConfigName: configName,
		Env: engine.Environment(), LowPorts: cfg.offersLowPorts(), Log: cfg.Log, Crash: cfg.Crash,
	})
	if err != nil {
		return nil, err
	}
	m := &Manager{
		cfg: cfg,
		engine: engine.New(engine.Config{
			Path: cfg.Binary, Dir: filepath.Join(cfg.State, engine.Dir), Program: "rathole-manager", Log: cfg.Log, Crash: cfg.Crash,
		}),
		backend: backend,
		ports:   newPorts(cfg, ephemeral),
		metrics: service.NewMetrics(),
	}
	m.history = &service.History[spec]{Journal: events.Open(filepath.Join(cfg.Logs, events.FileName), events.Options{Log: cfg.Log}), Metrics: m.metrics}
	m.sup = supervisor.New(supervisor.Config[spec]{
		Store: store, Backend: backend, Rules: newRules(m.engine, &m.doubts, cfg.Bind),
		Log: cfg.Log, UIDs: cfg.UIDs, Loaded: m.index, Gone: m.gone, Event: m.history.Happened, Reconciled: m.metrics.Reconciled,
		StopOnExit: cfg.StopOnExit, BackoffMin: cfg.BackoffMin, Crash: cfg.Crash,
	})
	m.observe()
	m.upgrader = engine.NewUpgrader(m.engine, engine.Fleet[spec]{Supervisor: m.sup, Lock: m.byID.Lock, Conditions: m.observer.Conditions})
	m.api = httpapi.New(httpapi.Config{
		Title: "rathole-manager", Version: cfg.Version, Token: cfg.Token, Log: cfg.Log,
		Problem: engine.Problem, Health: m.health, Ready: m.sup.IsReady, Alarm: m.sup.Alarm,
		Component: "manager", Shared: m.sharedMetrics(), Collectors: m.ownMetrics(),
	})
	m.routes()
	service.ReconcileRoutes(m.api, m.sup)
	m.upgrader.Routes(m.api)
	return m, nil
}

// observe makes what looks at the instances from outside.
func (m *Manager) observe() {
	m.healing = &service.Healing{Tell: m.history.Tell}
	m.stale = &stale{restart: m.renew, healing: m.healing, log: m.cfg.Log, since: map[string]staleSince{}, held: make(chan string, 16)}
	m.watcher = &watcher{control: m.cfg.Control, bind: m.cfg.Bind, sup: m.sup, log: m.cfg.Log, healing: m.healing, stale: m.stale}
	m.prober = newProber(m.cfg, m.sup, m.watcher, m.history.Tell)
	m.observer = service.NewObserver(service.ObserverConfig[spec]{
		List: m.sup.List, Get: m.sup.Get, Look: m.watcher.look, Tell: m.history.Tell, Log: m.cfg.Log, Looked: m.metrics.Looked,
	})
	m.logs = &service.LogWatch[spec]{
		List: m.sup.List, Tell: m.history.Tell, Hint: m.observer.Hint, Linked: m.observer.Linked, Log: m.cfg.Log,
		// Not what a stranger on the control port can cause as he likes.
		Warnings: map[rathole.Kind]string{
			rathole.KindConfigInvalid:  "the engine refuses its new config, and goes on with the one that it has",
			rathole.KindAuthFailed:     "a client came with a wrong token: it runs another revision's config, or is not ours",
			rathole.KindServiceUnknown: "a client asked for a service that this instance does not have: it runs another revision's config, or is not ours",
		},
	}
	m.watcher.fights, m.stale.holds, m.logs.Held = m.logs.Fights, m.watcher.holdsUDP, m.stale.found
	m.ends = &service.EndWatch[spec]{Observer: m.observer, Of: m.ports.lostBy, Log: m.cfg.Log}
	m.history.Observer = m.observer
	m.history.Remember()
	for _, e := range m.history.Journal.All() {
		m.prober.heard(e)
	}
}

// Run supervises the instances until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	m.engine.Report(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg  sync.WaitGroup
		err error
	)
	wg.Go(func() {
		defer cancel()
		err = m.sup.Run(ctx)
	})
	wg.Go(func() {
		select {
		case <-m.sup.Ready():
		case <-ctx.Done():
			return
		}
		m.cfg.Log.Info("ready", "instances", len(m.sup.List()))
		wg.Go(func() { m.prober.run(ctx) })
		wg.Go(func() { m.logs.Run(ctx) })
		wg.Go(func() { m.stale.run(ctx) })
		wg.Go(func() { m.ends.Run(ctx) })
		m.observer.Run(ctx)
	})
	wg.Go(func() { m.upgrader.Run(ctx) })
	wg.Wait()
	return errors.Join(err, m.history.Journal.Close())
}

// index gives every record its ports. An unreadable record's ports are what its engine was last told.
func (m *Manager) index() {
	for _, v := range m.sup.List() {
		m.ports.adopt(v.Record.ID, v.Record.Spec.sockets())
	}
	for id := range m.sup.Quarantined() {
		text, err := m.backend.ReadConfig(id)
		if err != nil {
			continue
		}
		if c, err := rathole.ParseServer([]byte(text)); err == nil {
			m.ports.adopt(id, configured(c))
		}
	}
}

// configured lists what a server config listens on.
func configured(c rathole.ServerConfig) map[socket]string {
	all := map[socket]string{}
	if port := portOf(c.BindAddr); port != 0 {
		all[socket{port, api.TCP}] = ""
	}
	for engine, svc := range c.Services {
		name, proto, ok := rathole.SplitServiceName(engine)
		if port := portOf(svc.BindAddr); ok && port != 0 {
			all[socket{port, proto}] = name
		}
	}
	return all
}

func (m *Manager) health() api.Health {
	return api.Health{
		Service: "rathole-manager", Version: m.cfg.Version, APILevel: api.Level,
		Features: []string{"dry_run", "events", "idempotency_key", "probe", "rotate", "upgrade", "wait"}, Engine: m.engine.Version(),
	}
}
