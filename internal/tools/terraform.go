package main

import (
	"context"
	"fmt"
	"os"

	"github.com/satishost/terraform-provider-rathole/internal/tools/obtain"
)

// terraformCommand prints nothing but the path on stdout, so that a script can take it; all else goes to stderr.
type terraformCommand struct{}

// Run obtains a command line.
func (terraformCommand) Run(ctx context.Context) error {
	path, err := obtain.Terraform(ctx, obtain.Options{Progress: os.Stderr})
	if err != nil {
		return err
	}
	_, err = fmt.Println(path)
	return err
}
