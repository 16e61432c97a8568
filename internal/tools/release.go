package main

import (
	"fmt"

	"github.com/satishost/terraform-provider-rathole/internal/tools/release"
)

// releaseCommand checks what a release would publish.
type releaseCommand struct {
	Dist string `help:"Directory of the built files." default:"dist"`
}

// Run checks the files.
func (c releaseCommand) Run() error {
	version, err := release.Check(c.Dist)
	if err != nil {
		return err
	}
	fmt.Printf("%s %s is what the registry takes\n", release.Name, version)
	return nil
}
