package provider

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/schema/validator"

	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// serviceURL validates the URL of a manager or an agent.
type serviceURL struct{}

// Description implements validator.String.
func (serviceURL) Description(context.Context) string {
	return "an http or https URL with a host, without user, query and fragment"
}

// MarkdownDescription implements validator.String.
func (v serviceURL) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

// ValidateString implements validator.String.
func (serviceURL) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if err := client.CheckURL(req.ConfigValue.ValueString()); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid URL", fmt.Sprintf("This URL cannot be used: %v.", err))
	}
}

// host validates an IP address or a host name.
type host struct{}

// Description implements validator.String.
func (host) Description(context.Context) string { return "an IP address or a host name" }

// MarkdownDescription implements validator.String.
func (v host) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

// ValidateString implements validator.String.
func (host) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() || rathole.ValidHost(req.ConfigValue.ValueString()) {
		return
	}
	resp.Diagnostics.AddAttributeError(req.Path, "Invalid host",
		fmt.Sprintf("%q is neither an IP address nor a host name (letters, digits and inner hyphens between dots; no port).", req.ConfigValue.ValueString()))
}
