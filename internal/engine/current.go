package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// CurrentFile is the file, in a service's directory of builds, that names the directory of the one in use.
const CurrentFile = "current"

// ReadName takes a build's name from the text of the current file.
func ReadName(text []byte) (string, error) {
	name := strings.TrimSpace(string(text))
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return "", fmt.Errorf("the file %s holds %q, which names no build", CurrentFile, name)
	}
	return name, nil
}

// PathOf is where the build of a name lies in a directory of builds.
func PathOf(dir, name string) string { return filepath.Join(dir, name, "rathole") }

// load reads which build is in use and asks it whether it still is what its name says. fs.ErrNotExist without a path in
// the answer: none has ever been.
func (e *Engine) load(ctx context.Context) (rathole.Binary, error) {
	text, err := os.ReadFile(filepath.Join(e.cfg.Dir, CurrentFile))
	if err != nil {
		return rathole.Binary{}, err
	}
	name, err := ReadName(text)
	if err != nil {
		return rathole.Binary{}, err
	}
	path := PathOf(e.cfg.Dir, name)
	b, err := rathole.Find(ctx, path)
	if err != nil {
		return rathole.Binary{Path: path}, err
	}
	if b.Name() != name {
		return b, fmt.Errorf("its checksum is that of %s: the file was changed", b.Name())
	}
	return b, nil
}

func (e *Engine) install(b rathole.Binary) (rathole.Binary, error) {
	installed, err := rathole.Install(b, e.cfg.Dir)
	if err != nil {
		return installed, err
	}
	e.cfg.Crash("engine.installed")
	e.know(installed)
	return installed, nil
}

// writeCurrent makes a build the one that every start uses; the rename is the commit point.
func (e *Engine) writeCurrent(b rathole.Binary) error {
	path := filepath.Join(e.cfg.Dir, CurrentFile)
	next := path + ".next"
	err := writeSynced(next, b.Name()+"\n")
	if err == nil {
		e.cfg.Crash("engine.written")
		err = os.Rename(next, path)
	}
	if err != nil {
		return fmt.Errorf("note the engine in use: %w", err)
	}
	e.cfg.Crash("engine.renamed")
	dir, err := os.Open(e.cfg.Dir)
	if err != nil {
		return fmt.Errorf("note the engine in use: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func writeSynced(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// sweep removes the builds that are neither in use by a start nor by a process; programs are what units were started by.
func (e *Engine) sweep(programs []string) {
	keep, err := e.inUse(programs)
	if err != nil {
		e.cfg.Log.Warn("see which engines are in use", "error", err)
		return
	}
	entries, err := os.ReadDir(e.cfg.Dir)
	if err != nil {
		e.cfg.Log.Warn("read the directory of engines", "error", err)
		return
	}
	for _, entry := range entries {
		if !entry.IsDir() || keep[entry.Name()] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(e.cfg.Dir, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.cfg.Log.Warn("remove an engine that nothing uses", "name", entry.Name(), "error", err)
			continue
		}
		e.cfg.Log.Info("removed an engine that nothing uses", "name", entry.Name())
	}
}
