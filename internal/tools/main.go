// Command tools is what a developer of this project runs beside go itself: go run ./internal/tools <command>.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// commands has one field per command; each type lies in a file of its own, with its flags and a Run(ctx) method.
type commands struct {
	Rathole   ratholeCommand   `cmd:"" help:"Obtain the engine and print its path."`
	Terraform terraformCommand `cmd:"" help:"Obtain a Terraform or OpenTofu command line and print its path."`
	Tofu      tofuCommand      `cmd:"" help:"Obtain OpenTofu, building it if there is none, and print its path."`
	Isolate   isolateCommand   `cmd:"" help:"Run a command in a network of its own, where that is allowed."`
	Pages     pagesCommand     `cmd:"" help:"Write the reference pages of actions and list resources."`
	Release   releaseCommand   `cmd:"" help:"Check that the files of a release are what the registry takes."`
	Demo      demoCommand      `cmd:"" help:"Show the product at work on this machine: apply, play, destroy."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command := kong.Parse(&commands{},
		kong.Name("tools"),
		kong.Description("Tools of the developers of terraform-provider-rathole."),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)))
	command.FatalIfErrorf(command.Run())
}
