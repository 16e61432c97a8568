// Command terraform-provider-rathole is the Terraform provider plugin. Terraform starts it; it is of no use by hand, but
// for -debug.
package main

import (
	"context"
	"flag"
	"log"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"

	"github.com/satishost/terraform-provider-rathole/provider"
)

// version is that of the release, set by the linker.
var version = "dev"

func main() {
	debug := flag.Bool("debug", false, "run until interrupted, for a debugger, and print how Terraform attaches")
	flag.Parse()
	opts := providerserver.ServeOpts{Address: provider.Address, Debug: *debug, ProtocolVersion: 6}
	if err := providerserver.Serve(context.Background(), provider.New(version), opts); err != nil {
		log.Fatal(err)
	}
}
