package obtain

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	// oldestTofu is the first that imports by a resource's identity.
	oldestTofu = "1.12.0"
	// pinnedTofu is what tools/tofu/go.mod builds; a test holds the two together.
	pinnedTofu = "1.12.6"
)

// Tofu gives the path of an OpenTofu command line of at least 1.12: tofu in PATH, or the one in the cache, or 1.12.6 built
// by go from its source, verified by the sums in tools/tofu/go.sum. It must be called within this repository.
//
// An error says what was tried and what to do.
func Tofu(ctx context.Context, o Options) (string, error) {
	o = o.withDefaults()
	for _, candidate := range o.inPath("tofu") {
		err := atLeast(ctx, candidate, oldestTofu)
		if err == nil {
			return candidate, nil
		}
		if ctx.Err() != nil {
			return "", err
		}
		o.note("passed over: %v", err)
	}
	cache, err := o.cache()
	if err != nil {
		return "", fmt.Errorf("obtain tofu: %w", err)
	}
	return cache.get(ctx, entryName("tofu", pinnedTofu), "tofu", o.buildTofu)
}

func (o Options) buildTofu(ctx context.Context, executable, _ string) error {
	err := o.byGo(ctx, executable)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("no tofu: none of %s or later in PATH, and %s cannot be built (%w); install one", oldestTofu, pinnedTofu, err)
}

func (o Options) byGo(ctx context.Context, executable string) error {
	compiler := o.inPath("go")
	if len(compiler) == 0 {
		return errors.New("go is not in PATH")
	}
	mod, err := exec.CommandContext(ctx, compiler[0], "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env GOMOD: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(mod)))
	step := begin(o.Progress, "building tofu "+pinnedTofu+", ten minutes of processor time")
	defer step.end()
	said := &lastLines{limit: 12, each: step.set}
	cmd := exec.CommandContext(ctx, compiler[0], "build", "-modfile=tools/tofu/go.mod", "-buildvcs=false", "-trimpath",
		"-ldflags", "-s -w -X github.com/opentofu/opentofu/version.dev=no", "-o", executable, "github.com/opentofu/opentofu/cmd/tofu")
	cmd.Dir = root
	cmd.Stdout, cmd.Stderr = said, said
	endsWithCaller(cmd)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: it says %s", strings.Join(cmd.Args, " "), err, said)
	}
	return atLeast(ctx, executable, oldestTofu)
}
