package supervisor

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The names inside a Directory. A unit's own name never begins with a dot, so what an interrupted create or remove left
// behind is told from units by its first letter.
const (
	recordFile   = "record.json"
	hintsFile    = "hints.json"
	createPrefix = ".new-"
	trashPrefix  = ".trash-"
	nextPrefix   = ".next-" // inside a unit: the next record, which may hold secrets
)

// Directory is a Store with one directory per unit, so that one torn file is one unit's trouble:
//
//	<path>/<id>/record.json
//
// Other files of the unit (its config, its lock) live beside the record and vanish with it.
type Directory struct {
	path  string
	crash func(point string)
}

// NewDirectory makes path if needed (0711: a unit's process may run as another user and must reach its config) and
// returns the store. crash, if not nil, is called at each named crash point; only tests pass one.
func NewDirectory(path string, crash func(point string)) (*Directory, error) {
	if err := makeSearchable(path); err != nil {
		return nil, err
	}
	if crash == nil {
		crash = func(string) {}
	}
	return &Directory{path: path, crash: crash}, nil
}

// Load implements Store.
func (d *Directory) Load(ctx context.Context) ([]Stored, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	var found []Stored
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		name := e.Name()
		if strings.HasPrefix(name, createPrefix) || strings.HasPrefix(name, trashPrefix) {
			// Before its commit point a create has promised nothing; after its own a removal has promised all.
			if err := os.RemoveAll(filepath.Join(d.path, name)); err != nil && !errors.Is(err, unix.EROFS) {
				return nil, fmt.Errorf("sweep %s: %w", name, err)
			}
			continue
		}
		if !e.IsDir() || strings.HasPrefix(name, ".") {
			continue
		}
		// What cannot be swept is this unit's trouble, like what cannot be read; but for a disk that nobody writes to.
		swept := sweep(filepath.Join(d.path, name))
		if errors.Is(swept, unix.EROFS) {
			swept = nil
		}
		text, err := os.ReadFile(filepath.Join(d.path, name, recordFile))
		if f := exhausted(err, 0); f != nil {
			return nil, f // which says nothing of the record
		}
		found = append(found, Stored{ID: name, Text: text, Hints: d.hints(name), Err: errors.Join(err, swept)})
	}
	return found, nil
}

// Create implements Store. The rename is the one commit point: killed before it, nothing exists; after it, the reconciler
// finishes what was begun.
func (d *Directory) Create(_ context.Context, id string, text []byte) error {
	final := filepath.Join(d.path, id)
	if _, err := os.Lstat(final); err == nil {
		return ErrExists
	}
	fresh := filepath.Join(d.path, createPrefix+rand.Text())
	if err := makeSearchable(fresh); err != nil {
		return errors.Join(err, removeIfThere(fresh))
	}
	d.crash("create.directory")
	err := errors.Join(writeSynced(filepath.Join(fresh, recordFile), text), syncDirectory(fresh))
	if err == nil {
		d.crash("create.written")
		err = os.Rename(fresh, final)
	}
	if errors.Is(err, fs.ErrExist) { // another create of this name came first
		return errors.Join(ErrExists, discardFresh(fresh))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write record %s: %w", id, err), discardFresh(fresh))
	}
	d.crash("create.renamed")
	return nil
}

// Sync implements Store.
func (d *Directory) Sync(context.Context) error {
	if err := syncDirectory(d.path); err != nil {
		return fmt.Errorf("sync the records: %w", err)
	}
	return nil
}

// Replace implements Store; its rename is the commit point.
func (d *Directory) Replace(_ context.Context, id string, text []byte) error {
	dir := filepath.Join(d.path, id)
	unit, err := os.Open(dir) // as in Create
	if err != nil {
		return fmt.Errorf("write record %s: %w", id, err)
	}
	defer func() { _ = unit.Close() }()
	next := filepath.Join(dir, nextPrefix+rand.Text())
	if err := writeSynced(next, text); err != nil {
		return errors.Join(fmt.Errorf("write record %s: %w", id, err), removeIfThere(next))
	}
	d.crash("replace.written")
	if err := os.Rename(next, filepath.Join(dir, recordFile)); err != nil {
		return errors.Join(fmt.Errorf("commit record %s: %w", id, err), removeIfThere(next))
	}
	d.crash("replace.renamed")
	return unit.Sync()
}

// SetHints implements Store.
func (d *Directory) SetHints(_ context.Context, id string, hints map[string]string) error {
	text, err := json.Marshal(hints)
	if err != nil {
		return fmt.Errorf("encode hints of %s: %w", id, err)
	}
	path := filepath.Join(d.path, id, hintsFile)
	if err := os.WriteFile(path+".next", text, 0o600); err != nil {
		return fmt.Errorf("write hints of %s: %w", id, err)
	}
	return os.Rename(path+".next", path)
}

// hints reads what SetHints wrote. Hints that cannot be read are no hints: they are facts that will be seen again.
func (d *Directory) hints(id string) map[string]string {
	text, err := os.ReadFile(filepath.Join(d.path, id, hintsFile))
	if err != nil {
		return nil
	}
	var hints map[string]string
	if json.Unmarshal(text, &hints) != nil {
		return nil
	}
	return hints
}

// Remove implements Store. The record goes in one rename, so a half-removed unit is never read as one.
func (d *Directory) Remove(_ context.Context, id string) error { return d.discard(id) }

func (d *Directory) discard(id string) error {
	trash := filepath.Join(d.path, trashPrefix+id+"-"+rand.Text())
	if err := os.Rename(filepath.Join(d.path, id), trash); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return d.sweepTrash(id)
		}
		return fmt.Errorf("remove record %s: %w", id, err)
	}
	d.crash("remove.renamed")
	if err := syncDirectory(d.path); err != nil {
		return err
	}
	return removeTree(trash)
}

// removeTree is os.RemoveAll with one descriptor at a time: what was begun for want of descriptors must be undone without.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			errs = append(errs, removeTree(path))
		} else {
			errs = append(errs, os.Remove(path))
		}
	}
	return errors.Join(append(errs, os.Remove(dir))...)
}

// sweepTrash removes what an earlier try to remove a unit left: the rename was done, and what follows failed.
func (d *Directory) sweepTrash(id string) error {
	left, err := filepath.Glob(filepath.Join(d.path, trashPrefix+id+"-"+strings.Repeat("?", len(rand.Text()))))
	for _, path := range left {
		err = errors.Join(err, removeTree(path))
	}
	return err
}

// discardFresh removes a unit that was not committed. Unlike os.RemoveAll it opens no file, for it may be the want of
// descriptors that it cleans up after.
func discardFresh(dir string) error {
	return errors.Join(removeIfThere(filepath.Join(dir, recordFile)), removeIfThere(dir))
}

// sweep removes what was written to take the place of another file and never did.
func sweep(dir string) error {
	records, err := filepath.Glob(filepath.Join(dir, nextPrefix+"*"))
	hints, err2 := filepath.Glob(filepath.Join(dir, "*.next"))
	err = errors.Join(err, err2)
	for _, path := range slices.Concat(records, hints) {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// makeSearchable makes a directory that other users may pass through, whatever the umask. One that is so already is not
// touched: its disk may be read-only, and the tunnels of its units are there to be taken over all the same.
func makeSearchable(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() && info.Mode().Perm() == 0o711 {
		return nil
	}
	if err := errors.Join(os.MkdirAll(path, 0o711), os.Chmod(path, 0o711)); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	return nil
}

// writeSynced writes a new file, readable by its owner only, and waits until the disk has it.
func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDirectory waits until the disk has a directory's entries: without it a rename may be lost with the power.
func syncDirectory(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
