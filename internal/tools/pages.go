package main

import (
	"context"

	"github.com/satishost/terraform-provider-rathole/internal/tools/pages"
)

// pagesCommand writes the reference pages that tfplugindocs leaves out.
type pagesCommand struct {
	Docs string `help:"Directory of the pages." default:"docs"`
}

// Run writes them.
func (c pagesCommand) Run(ctx context.Context) error { return pages.Write(ctx, c.Docs, "examples") }
