package testkit

import (
	"os"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/tools/obtain"
)

// Rathole returns the path of the pinned engine, obtaining it if need be. There is no skipping: a test of a tunnel without
// the engine proves nothing.
func Rathole(t testing.TB) string {
	t.Helper()
	path, err := obtain.Rathole(t.Context(), obtain.Options{})
	if err != nil {
		t.Fatalf("these tests need rathole: %v", err)
	}
	return path
}

// Terraform returns the path of a Terraform (or OpenTofu) command line, obtaining it if need be.
func Terraform(t testing.TB) string {
	t.Helper()
	path, err := obtain.Terraform(t.Context(), obtain.Options{})
	if err != nil {
		t.Fatalf("these tests need terraform: %v", err)
	}
	return path
}

// MustUseTerraform makes the acceptance test framework use the command line that Terraform gives. It looks for it in the
// environment alone, and would otherwise try to download one.
func MustUseTerraform(t testing.TB) {
	t.Helper()
	for name, value := range map[string]string{"TF_ACC_TERRAFORM_PATH": Terraform(t), "CHECKPOINT_DISABLE": "1"} {
		if err := os.Setenv(name, value); err != nil { //nolint:usetesting // for all tests of the program alike; t.Setenv forbids parallel ones
			t.Fatal(err)
		}
	}
	if err := os.Unsetenv("TF_CLI_CONFIG_FILE"); err != nil { // a developer's own overrides
		t.Fatal(err)
	}
}
