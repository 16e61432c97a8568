package main

import (
	"context"
	"fmt"
	"os"

	"github.com/satishost/terraform-provider-rathole/internal/tools/obtain"
)

// ratholeCommand prints nothing but the path on stdout, so that a script can take it; all else goes to stderr.
type ratholeCommand struct{}

// Run obtains rathole.
func (ratholeCommand) Run(ctx context.Context) error {
	path, err := obtain.Rathole(ctx, obtain.Options{Progress: os.Stderr})
	if err != nil {
		return err
	}
	_, err = fmt.Println(path)
	return err
}
