package testkit

import (
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
