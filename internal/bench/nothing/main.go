// Command nothing is a provider that keeps what is planned and calls nobody, with the very schema of rathole_instance: what
// an apply costs Terraform itself. make bench-terraform sets ours beside it; no release has it.
package main

import (
	"context"
	"log"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	rathole "github.com/satishost/terraform-provider-rathole/provider"
)

func main() {
	serve := func() provider.Provider { return nothing{rathole.New("nothing")()} }
	opts := providerserver.ServeOpts{Address: rathole.Address, ProtocolVersion: 6}
	if err := providerserver.Serve(context.Background(), serve, opts); err != nil {
		log.Fatal(err)
	}
}

// nothing has the name and the schema of ours.
type nothing struct{ provider.Provider }

// Configure implements provider.Provider.
func (nothing) Configure(context.Context, provider.ConfigureRequest, *provider.ConfigureResponse) {}

// DataSources implements provider.Provider.
func (nothing) DataSources(context.Context) []func() datasource.DataSource { return nil }

// Resources implements provider.Provider.
func (n nothing) Resources(ctx context.Context) []func() resource.Resource {
	var kept []func() resource.Resource
	for _, ours := range n.Provider.Resources(ctx) {
		kept = append(kept, func() resource.Resource { return keeper{ours()} })
	}
	return kept
}

// keeper has the name and the schema of a resource of ours.
type keeper struct{ resource.Resource }

// Create implements resource.Resource.
func (keeper) Create(_ context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	state, err := tftypes.Transform(req.Plan.Raw, known)
	if err != nil {
		resp.Diagnostics.AddError("Unable to keep the plan", err.Error())
		return
	}
	resp.State.Raw = state
}

// Read implements resource.Resource: the state is true.
func (keeper) Read(context.Context, resource.ReadRequest, *resource.ReadResponse) {}

// Update implements resource.Resource.
func (keeper) Update(_ context.Context, _ resource.UpdateRequest, resp *resource.UpdateResponse) {
	resp.Diagnostics.AddError("Unable to update", "Nothing that is measured updates anything.")
}

// Delete implements resource.Resource.
func (keeper) Delete(context.Context, resource.DeleteRequest, *resource.DeleteResponse) {}

// known gives what a provider computes some value.
func known(_ *tftypes.AttributePath, v tftypes.Value) (tftypes.Value, error) {
	if v.IsKnown() {
		return v, nil
	}
	var some any
	switch typ := v.Type(); {
	case typ.Is(tftypes.String):
		some = "as long as the real values are, on average"
	case typ.Is(tftypes.Number):
		some = 1
	case typ.Is(tftypes.Bool):
		some = true
	case typ.Is(tftypes.Map{}):
		some = map[string]tftypes.Value{}
	default:
		some = []tftypes.Value{}
	}
	return tftypes.NewValue(v.Type(), some), nil
}
