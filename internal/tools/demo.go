package main

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/tools/demo"
	"github.com/satishost/terraform-provider-rathole/internal/tools/obtain"
)

// demoCommand shows the product at work on this machine.
type demoCommand struct{}

// Run obtains what is needed and gives the demonstration.
func (demoCommand) Run(ctx context.Context) error {
	if !demo.IsRoot(".") {
		return errors.New("run the demonstration in the root of the repository")
	}
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	rathole, err := obtain.Rathole(ctx, obtain.Options{Progress: os.Stderr})
	if err != nil {
		return err
	}
	terraform, err := obtain.Terraform(ctx, obtain.Options{Progress: os.Stderr})
	if err != nil {
		return err
	}
	return demo.Run(ctx, demo.Options{
		Root: root, Rathole: rathole, Terraform: terraform, Out: os.Stdout, In: os.Stdin,
		Wait: isTerminal(os.Stdin) && isTerminal(os.Stdout),
	})
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
