package provider

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// fail reports an error of a service. The summary reads "Unable to [verb] [thing]"; next is what the error means for what
// exists, and what to do. A field that the service names becomes the attribute of the configuration.
func fail(diags *diag.Diagnostics, summary string, err error, next ...string) {
	detail := strings.Join(append([]string{explain(err)}, next...), "\n\n")
	if at, ok := attribute(err); ok {
		diags.AddAttributeError(at, summary, detail)
		return
	}
	diags.AddError(summary, detail)
}

// explain is an error as a sentence, with what can be done about it.
func explain(err error) string {
	text := sentence(err.Error())
	if client.RetryAfter(err) > maxPause {
		text += "\n\nWait that long, then run Terraform again."
	}
	if errors.Is(err, errNotKnown) {
		return text + "\n\nThe provider takes it from what this apply is about to make. Apply that first (terraform apply -target=ADDRESS); " +
			"a data source or ephemeral resource may wait for it instead, with depends_on = [ADDRESS]."
	}
	var p *api.Problem
	if !errors.As(err, &p) {
		return text
	}
	switch p.Code {
	case api.CodeUnauthorized:
		return text + "\n\nThe token is missing or wrong. For the manager, set token in the provider block or " + envToken +
			"; for an agent, agent_tokens, agent_token or " + envAgentToken + "."
	case api.CodeClientExists:
		return text + "\n\nThe agent runs a client of this server_id for another manager. Choose another server_id, or stop that client on the agent first."
	}
	return text
}

func sentence(text string) string {
	if text == "" {
		return text
	}
	text = strings.ToUpper(text[:1]) + text[1:]
	if strings.HasSuffix(text, ".") || strings.HasSuffix(text, "?") || strings.HasSuffix(text, "…") {
		return text
	}
	return text + "."
}

// importHint shows how to take over an instance that exists. The provider is not told its resource's address; Terraform
// prints it below the message.
func importHint(id string) string {
	return fmt.Sprintf("An instance of that name exists on the manager with another specification. If it is this one, import it "+
		"(with the address of this resource, shown below):\n\n  terraform import rathole_instance.NAME %s\n\n"+
		"If it is someone else's, choose another server_id.", id)
}

// attribute is the attribute that an error is about, if the service named exactly one.
func attribute(err error) (path.Path, bool) {
	var p *api.Problem
	if !errors.As(err, &p) || len(p.Errors) != 1 {
		return path.Path{}, false
	}
	return attributeAt(p.Errors[0].Location)
}

// attributeAt translates body.services.query.protocols[0] and the like.
func attributeAt(location string) (path.Path, bool) {
	field, ok := strings.CutPrefix(location, "body.")
	if !ok {
		return path.Path{}, false
	}
	parts := strings.Split(field, ".")
	root, _, _ := strings.Cut(parts[0], "[")
	switch root {
	case "server_id", "game_port", "beacon_port", "host_ip", "agent_url", "labels", "transport", "enabled", "probe":
		return path.Root(root), true
	case "services":
	default:
		return path.Path{}, false
	}
	at := path.Root("services")
	if len(parts) == 1 {
		return at, true
	}
	at = at.AtMapKey(parts[1])
	if len(parts) == 2 {
		return at, true
	}
	name, _, _ := strings.Cut(parts[2], "[")
	switch name {
	case "protocols", "local_port", "public_port", "local_host", "probe":
		return at.AtName(name), true
	}
	return at, true
}
