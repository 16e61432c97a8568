// Package engine is rathole as a unit of the supervisor: finding it, starting it only where it can live, explaining its end,
// and handing it a new config while it runs. The manager and the agent build their rules on it.
package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// Engine is the rathole of one service: found once, copied to a place that every user may execute, so that an upgrade is
// a new path and never a change under a running process.
type Engine struct {
	path string // of the executable to find; empty: in PATH
	dir  string // where it is copied to

	finding sync.Mutex // held while the executable is looked for and copied, which takes a while
	binary  atomic.Pointer[rathole.Binary]
}

// New returns an engine that is looked for when it is first needed. dir is the service's <state>/engine.
func New(path, dir string) *Engine { return &Engine{path: path, dir: dir} }

// Binary finds and installs the executable. A failure is not kept: the next call looks again.
func (e *Engine) Binary(ctx context.Context) (rathole.Binary, error) {
	if b := e.binary.Load(); b != nil {
		return *b, nil
	}
	e.finding.Lock()
	defer e.finding.Unlock()
	if b := e.binary.Load(); b != nil {
		return *b, nil
	}
	found, err := rathole.Find(ctx, e.path)
	if err != nil {
		return rathole.Binary{}, err
	}
	installed, err := rathole.Install(found, e.dir)
	if err != nil {
		return rathole.Binary{}, err
	}
	e.binary.Store(&installed)
	return installed, nil
}

// Version is the engine's version, empty if there is none yet.
func (e *Engine) Version() string {
	b := e.binary.Load()
	if b == nil {
		return ""
	}
	return b.Version
}

// Require tells whether the executable can do a transport; an *api.Problem about the field at location if not.
func (e *Engine) Require(ctx context.Context, t api.Transport, location string) error {
	b, err := e.Binary(ctx)
	if p := Problem(err); p != nil {
		return p
	}
	if err != nil {
		return &api.Problem{Status: http.StatusServiceUnavailable, Code: api.CodeEngineUnavailable, Detail: err.Error()}
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
