package obtain

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// Rathole gives the path of a rathole of the one version that this project works with (rathole.Version): RATHOLE_BINARY,
// or the first in PATH that has the version, or the one in the cache, or the pinned release, or one built by cargo,
// which takes one to two minutes and needs no system libraries.
//
// A RATHOLE_BINARY of another version is an error, since somebody chose it; in PATH it is passed over with a note. An
// error says what was tried and what to do.
func Rathole(ctx context.Context, o Options) (string, error) {
	return engine{Options: o.withDefaults(), asset: pinnedAsset(runtime.GOOS, runtime.GOARCH), patience: bytePatience}.obtain(ctx)
}

type engine struct {
	Options
	asset    asset
	patience time.Duration
}

func (e engine) obtain(ctx context.Context) (string, error) {
	if chosen := e.Getenv("RATHOLE_BINARY"); chosen != "" {
		binary, err := rathole.Find(ctx, chosen)
		if err != nil {
			return "", fmt.Errorf("RATHOLE_BINARY: %w", err)
		}
		return binary.Path, nil
	}
	for _, candidate := range e.inPath("rathole") {
		binary, err := rathole.Find(ctx, candidate)
		if err == nil {
			return binary.Path, nil
		}
		if ctx.Err() != nil {
			return "", err
		}
		e.note("passed over: %v", err)
	}
	cache, err := e.cache()
	if err != nil {
		return "", fmt.Errorf("obtain rathole: %w", err)
	}
	return cache.get(ctx, entryName("rathole", rathole.Version), "rathole", e.fill)
}

// fill is the cache's way to a rathole that is not there yet: the release, or else cargo.
func (e engine) fill(ctx context.Context, executable, work string) error {
	released := e.fromRelease(ctx, executable)
	if released == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e.note("the release is not to be had (%v): building with cargo, which is needed once", released)
	built := e.byCargo(ctx, executable, work)
	if built == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("no rathole %s: none in PATH, its release is not to be had (%w), nor could it be built (%w); "+
		"put rathole %[1]s in PATH, set RATHOLE_BINARY to its path, or install cargo (rustup.rs)", rathole.Version, released, built)
}

// works runs the program: an executable for another C library or with one missing does not start.
func works(ctx context.Context, executable string) error {
	if _, err := rathole.Find(ctx, executable); err != nil {
		return fmt.Errorf("it does not run here: %w", err)
	}
	return nil
}
