package main

import (
	"context"
	"fmt"
	"os"

	"github.com/satishost/terraform-provider-rathole/internal/tools/obtain"
)

// tofuCommand prints nothing but the path on stdout, so that a script can take it; all else goes to stderr.
type tofuCommand struct{}

// Run obtains OpenTofu.
func (tofuCommand) Run(ctx context.Context) error {
	path, err := obtain.Tofu(ctx, obtain.Options{Progress: os.Stderr})
	if err != nil {
		return err
	}
	_, err = fmt.Println(path)
	return err
}
