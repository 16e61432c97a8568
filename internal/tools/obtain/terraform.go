package obtain

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/product"
	"github.com/hashicorp/hc-install/releases"
)

const (
	// oldestTerraform is the first that calls a provider's functions; OpenTofu counts the same way.
	oldestTerraform = "1.8.0"
	// pinnedTerraform is fetched where there is none.
	pinnedTerraform = "1.11.4"
)

// askTimeout bounds `terraform version`, which takes 0.3 s and more on a busy machine.
const askTimeout = 30 * time.Second

// Terraform gives the path of a Terraform or OpenTofu command line of at least 1.8: TF_ACC_TERRAFORM_PATH, or terraform
// or tofu in PATH, or the one in the cache, or HashiCorp's release of 1.11.4, its signature verified.
//
// A TF_ACC_TERRAFORM_PATH that is too old or not Terraform is an error, since somebody chose it; in PATH it is passed
// over with a note. An error says what was tried and what to do.
func Terraform(ctx context.Context, o Options) (string, error) {
	return commandLine{Options: o.withDefaults(), patience: bytePatience}.obtain(ctx)
}

type commandLine struct {
	Options
	patience     time.Duration
	releasesURL  string // empty: HashiCorp's
	signedByOnly string // armoured public key, empty: HashiCorp's
}

func (c commandLine) obtain(ctx context.Context) (string, error) {
	if chosen := c.Getenv("TF_ACC_TERRAFORM_PATH"); chosen != "" {
		if err := atLeast(ctx, chosen, oldestTerraform); err != nil {
			return "", fmt.Errorf("TF_ACC_TERRAFORM_PATH: %w", err)
		}
		return filepath.Abs(chosen)
	}
	for _, candidate := range append(c.inPath("terraform"), c.inPath("tofu")...) {
		err := atLeast(ctx, candidate, oldestTerraform)
		if err == nil {
			return candidate, nil
		}
		if ctx.Err() != nil {
			return "", err
		}
		c.note("passed over: %v", err)
	}
	cache, err := c.cache()
	if err != nil {
		return "", fmt.Errorf("obtain terraform: %w", err)
	}
	return cache.get(ctx, entryName("terraform", pinnedTerraform), "terraform", c.fill)
}

func (c commandLine) fill(ctx context.Context, executable, work string) error {
	err := c.fromRelease(ctx, executable, work)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("no terraform: neither terraform nor tofu (%s or later) in PATH, and release %s is not to be had (%w); "+
		"install one of them, or set TF_ACC_TERRAFORM_PATH to its path", oldestTerraform, pinnedTerraform, err)
}

func (c commandLine) fromRelease(ctx context.Context, executable, work string) error {
	wanted, err := version.NewVersion(pinnedTerraform)
	if err != nil {
		return err
	}
	step := begin(c.Progress, "downloading terraform "+pinnedTerraform)
	defer step.end()
	release := &releases.ExactVersion{
		Product:          product.Terraform,
		Version:          wanted,
		InstallDir:       work,
		Timeout:          time.Hour, // the client watches for silence; a slow line may take its time
		ApiBaseURL:       c.releasesURL,
		ArmoredPublicKey: c.signedByOnly,
		HTTPClient:       newHTTPClient(c.patience, func(read, total int64) { step.set(transferred(read, total)) }),
	}
	installed, err := release.Install(ctx)
	if err != nil {
		return err
	}
	if err := os.Rename(installed, executable); err != nil {
		return err
	}
	return atLeast(ctx, executable, oldestTerraform)
}

// atLeast asks a command line for its version, with no configuration of anybody's.
func atLeast(ctx context.Context, path, wanted string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "version", "-json")
	if filepath.IsAbs(path) {
		cmd.Dir = os.TempDir() // in the caller's directory it would read the state of its providers
	}
	cmd.Env = append(withoutVariable(os.Environ(), "TF_CLI_CONFIG_FILE"), "CHECKPOINT_DISABLE=1")
	cmd.WaitDelay = time.Second
	answer, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s version -json: %w", path, err)
	}
	var said struct {
		Version string `json:"terraform_version"`
	}
	if err := json.Unmarshal(answer, &said); err != nil {
		return fmt.Errorf("%s version -json: %w", path, err)
	}
	have, err := version.NewVersion(said.Version)
	if err != nil {
		return fmt.Errorf("%s version -json: %w", path, err)
	}
	oldest, err := version.NewVersion(wanted)
	if err != nil {
		return err
	}
	if have.Core().LessThan(oldest) {
		return fmt.Errorf("%s is version %s, %s or later is needed", path, have, oldest)
	}
	return nil
}

func withoutVariable(environment []string, name string) []string {
	kept := make([]string, 0, len(environment))
	for _, variable := range environment {
		if !strings.HasPrefix(variable, name+"=") {
			kept = append(kept, variable)
		}
	}
	return kept
}
