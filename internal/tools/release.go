package main

import (
	"fmt"

	"github.com/satishost/terraform-provider-rathole/internal/tools/release"
)

// releaseCommand checks what a release would publish.
type releaseCommand struct {
	Dist     string `help:"Directory of the built files." default:"dist"`
	Unsigned bool   `help:"It is a snapshot, which nobody has signed."`
}

// Run checks the files.
func (c releaseCommand) Run() error {
	version, err := release.Check(c.Dist, !c.Unsigned)
	if err != nil {
		return err
	}
	but := ""
	if c.Unsigned {
		but = ", once its checksums are signed"
	}
	fmt.Printf("%s %s is what the registry takes%s\n", release.Name, version, but)
	return nil
}
