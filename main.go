// Command terraform-provider-rathole is the Terraform provider plugin. Terraform starts it; it is of no use by hand, but
// for -debug.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"

	"github.com/satishost/terraform-provider-rathole/provider"
)

// version is that of the release, set by the linker.
var version = "dev"

func main() {
	debug := flag.Bool("debug", false, "run until interrupted, for a debugger, and print how Terraform attaches")
	flag.Parse()
	if !*debug {
		quiet()
	}
	opts := providerserver.ServeOpts{Address: provider.Address, Debug: *debug, ProtocolVersion: 6}
	if err := providerserver.Serve(context.Background(), provider.New(version), opts); err != nil {
		log.Fatal(err)
	}
}

// quiet has the libraries write no log where nobody has asked for one. They write all of it otherwise, Terraform reads it line
// by line and throws it away, and with a thousand resources both spend a third of their processor time on that.
func quiet() {
	if slices.ContainsFunc(os.Environ(), func(set string) bool { return strings.HasPrefix(set, "TF_LOG") }) {
		return
	}
	for _, library := range []string{"TF_LOG_SDK", "TF_LOG_SDK_FRAMEWORK", "TF_LOG_SDK_PROTO"} {
		_ = os.Setenv(library, "OFF") // else it is only slower
	}
}
