// Package engine is rathole as a unit of the supervisor: finding it, starting it only where it can live, explaining its end,
// handing it a new config while it runs, and replacing it by another build. The manager and the agent build their rules on
// it.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// Dir is the directory of the installed builds, below a service's state directory.
const Dir = "engine"

// Config is what an Engine works with. All but Path and Crash are required.
type Config struct {
	// Path is the executable to install; empty: the one in PATH.
	Path string
	// Dir is where builds are installed, the service's <state>/engine: one directory for each, <version>-<checksum>, and the
	// file current, which names the one that is used.
	Dir string
	// Program is the service's own name, for advice.
	Program string
	Log     *slog.Logger
	// Crash is called at each named crash point; only tests set it.
	Crash func(point string)
}

// Engine is the rathole of one service. Every start uses the current build, which was found once, copied to a place that
// every user may execute, and stays the current one, over restarts of the service and whatever becomes of the file that it
// was copied from, until an Upgrader replaces it.
type Engine struct {
	cfg Config

	finding sync.Mutex // held while a build is looked for and copied, which takes a while

	mu      sync.Mutex // guards what starts use
	current *rathole.Binary
	rollout *rollout

	looking sync.Mutex // guards what has been asked who it is; taken after mu, if both are
	found   sighting
	seen    map[identity]rathole.Binary // what processes run
}

// New returns an engine that is looked for when it is first needed.
func New(cfg Config) *Engine {
	if cfg.Crash == nil {
		cfg.Crash = func(string) {}
	}
	return &Engine{cfg: cfg, seen: map[identity]rathole.Binary{}}
}

// Binary is the current build. If there is none, the executable is found and installed. A failure is not kept: the next call
// looks again.
func (e *Engine) Binary(ctx context.Context) (rathole.Binary, error) {
	if b, ok := e.known(); ok {
		return b, nil
	}
	e.finding.Lock()
	defer e.finding.Unlock()
	if b, ok := e.known(); ok {
		return b, nil
	}
	b, err := e.load(ctx)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) || b.Path != "" {
			e.cfg.Log.Warn("the installed engine cannot be used: looking for one anew", "path", b.Path, "why", err)
		}
		b, err = rathole.Find(ctx, e.cfg.Path)
		if err == nil {
			b, err = e.install(b)
		}
		if err == nil {
			err = e.writeCurrent(b)
		}
	}
	if err != nil {
		return rathole.Binary{}, err
	}
	e.know(b)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.current = &b
	return b, nil
}

func (e *Engine) known() (rathole.Binary, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil {
		return rathole.Binary{}, false
	}
	return *e.current, true
}

// Program is the build that a unit is started with.
func (e *Engine) Program(ctx context.Context, id string) (rathole.Binary, error) {
	if b, ok := e.known(); ok {
		if _, err := os.Stat(b.Path); errors.Is(err, fs.ErrNotExist) {
			e.forget(b)
		}
	}
	b, err := e.Binary(ctx)
	if err != nil {
		return rathole.Binary{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current != nil {
		b = *e.current // it may have changed since
	}
	if e.rollout != nil {
		b = e.rollout.choose(id, b)
	}
	return b, nil
}

// next is the build that a unit's next start will have, as far as can be told now.
func (e *Engine) next(ctx context.Context, id string) (rathole.Binary, error) {
	b, err := e.Binary(ctx)
	if err != nil {
		return b, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rollout != nil {
		if pinned, ok := e.rollout.pinned[id]; ok {
			return pinned, nil
		}
	}
	return b, nil
}

// forget makes the next call of Binary look for a build, since this one's file is gone.
func (e *Engine) forget(b rathole.Binary) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current != nil && e.current.Path == b.Path {
		e.current = nil
	}
}

// Version is the engine's version, empty if there is none yet.
func (e *Engine) Version() string {
	b, _ := e.known()
	return b.Version
}

// sighting is what was found at the configured place, and of which file.
type sighting struct {
	at     identity
	binary rathole.Binary
}

// Found is the executable at the configured path, or in PATH, at this moment. It is asked who it is only if it is another
// file than last time.
func (e *Engine) Found(ctx context.Context) (rathole.Binary, error) {
	name := e.cfg.Path
	if name == "" {
		name = "rathole"
	}
	at := identity{}
	if path, err := exec.LookPath(name); err == nil {
		at, _ = identify(path) // one that cannot be looked at is for Find to tell of
	}
	e.looking.Lock()
	last := e.found
	e.looking.Unlock()
	if at != (identity{}) && last.at == at {
		return last.binary, nil
	}
	b, err := rathole.Find(ctx, e.cfg.Path)
	if err != nil {
		return b, err
	}
	e.looking.Lock()
	defer e.looking.Unlock()
	e.found = sighting{at: at, binary: b}
	return b, nil
}

// Report logs which build is used.
func (e *Engine) Report(ctx context.Context) {
	b, err := e.Binary(ctx)
	if err != nil {
		e.cfg.Log.Error("no engine: nothing can be started until there is one", "error", err)
		return
	}
	e.cfg.Log.Info("engine", "path", b.Path, "version", b.Version, "features", b.Features)
}

// compare logs whether another build waits for an upgrade.
func (e *Engine) compare(ctx context.Context) {
	b, known := e.known()
	found, err := e.Found(ctx)
	if !known || err != nil || found.SHA256 == b.SHA256 {
		return
	}
	e.cfg.Log.Warn("the engine on this machine is another than the one in use: a start does not change it, `"+e.cfg.Program+
		" upgrade` takes the tunnels over one by one", "in_use", b.Name(), "found", found.Name(), "at", found.Path)
}

// Require tells whether the executable can do a transport; an *api.Problem about the field at location if not.
func (e *Engine) Require(ctx context.Context, t api.Transport, location string) error {
	b, err := e.Binary(ctx)
	if p := Problem(err); p != nil {
		return p
	}
	if err != nil {
		return unavailable(err)
	}
	if t == "" || b.Supports(t) {
		return nil
	}
	return &api.Problem{
		Status: http.StatusUnprocessableEntity, Code: api.CodeTransportUnsupported,
		Detail: fmt.Sprintf("the rathole of this machine was built without %s: use tcp, or install a build that has it", t),
		Errors: []api.FieldError{{Location: location, Message: "not in this build of rathole", Value: t}},
	}
}

func unavailable(err error) *api.Problem {
	return &api.Problem{Status: http.StatusServiceUnavailable, Code: api.CodeEngineUnavailable, Detail: err.Error()}
}

// CheckInotify tells whether this user has an inotify instance left. rathole takes one to watch its config, and without
// one it exits with code 0 and no word of why.
func CheckInotify() error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err == nil {
		return unix.Close(fd)
	}
	if errors.Is(err, unix.EMFILE) {
		return noInotify()
	}
	return fmt.Errorf("inotify: %w", err)
}

// Environment is the whole environment of an engine. Its log level is set because reloads are verified by the log; two
// worker threads carry a game's traffic and keep a thousand engines at four thousand threads.
func Environment() []string {
	return []string{"RUST_LOG=info", "TOKIO_WORKER_THREADS=2"}
}
