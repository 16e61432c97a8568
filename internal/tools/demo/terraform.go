package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// apply runs terraform apply on examples/quickstart, with the provider that was just built.
func (w *world) apply(ctx context.Context, port int) error {
	if err := os.CopyFS(w.work(), os.DirFS(filepath.Join(w.Root, "examples", "quickstart"))); err != nil {
		return fmt.Errorf("copy the example: %w", err)
	}
	overrides := fmt.Sprintf("provider_installation {\n  dev_overrides {\n    \"satishost/rathole\" = %q\n  }\n  direct {}\n}\n", w.bin())
	if err := os.WriteFile(w.cliConfig(), []byte(overrides), 0o600); err != nil {
		return err
	}
	settings := map[string]any{"manager_url": w.managerURL, "agent_url": w.agentURL, "host_ip": gameHost, "game_port": port}
	text, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(w.work(), "demo.auto.tfvars.json"), text, 0o600); err != nil {
		return err
	}
	w.say("\n$ terraform apply     # examples/quickstart: one rathole_instance, ports %d and %d", port, port+1)
	err = w.step("terraform apply", func() error { return w.terraform(ctx, "apply", "-auto-approve", "-input=false", "-no-color") })
	if err != nil {
		return err
	}
	w.say("$ terraform plan      # a second time: nothing to do")
	return w.step("terraform plan, no changes", func() error {
		// With -detailed-exitcode, changes would be exit code 2, and so an error here.
		return w.terraform(ctx, "plan", "-detailed-exitcode", "-input=false", "-no-color")
	})
}

func (w *world) destroy(ctx context.Context) error {
	w.say("\n$ terraform destroy")
	return w.step("terraform destroy", func() error { return w.terraform(ctx, "destroy", "-auto-approve", "-input=false", "-no-color") })
}

func (w *world) work() string      { return filepath.Join(w.dir, "quickstart") }
func (w *world) cliConfig() string { return filepath.Join(w.dir, "terraform.rc") }

// environment lets terraform find the provider, and the provider its token. The token is in no file and no argument.
func (w *world) environment() []string {
	return []string{"TF_CLI_CONFIG_FILE=" + w.cliConfig(), "RATHOLE_TOKEN=" + w.token.Reveal(), "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1"}
}

func (w *world) terraform(ctx context.Context, args ...string) error {
	return w.run(ctx, w.work(), w.environment(), w.Terraform, args...)
}

// outputs are what the example gives.
type outputs struct {
	Endpoints   struct{ Value map[string]string } `json:"endpoints"`
	ControlPort struct{ Value int }               `json:"control_port"`
	Status      struct{ Value string }            `json:"status"`
}

func (w *world) outputs(ctx context.Context) (outputs, error) {
	var o outputs
	text, err := w.output(ctx, w.work(), w.environment(), w.Terraform, "output", "-json", "-no-color")
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return o, fmt.Errorf("read terraform's outputs: %w", err)
	}
	if o.Status.Value != "healthy" {
		return o, fmt.Errorf("the instance is %s, not healthy", strconv.Quote(o.Status.Value))
	}
	return o, nil
}
