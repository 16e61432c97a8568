package provider

import (
	"fmt"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-testing/echoprovider"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
)

// storyDataSources reads what the resources of the same configuration have made.
func storyDataSources(t *testing.T, b backend) {
	const reads = `
data "rathole_instances" "all" {
  depends_on = [rathole_instance.test, rathole_instance.eu]
}
data "rathole_instances" "eu" {
  prefix     = "eu-"
  depends_on = [rathole_instance.test, rathole_instance.eu]
}
data "rathole_instances" "labelled" {
  labels     = { tier = "gold" }
  depends_on = [rathole_instance.test, rathole_instance.eu]
}
data "rathole_instances" "healthy" {
  status     = "healthy"
  depends_on = [rathole_instance.test, rathole_instance.eu]
}
data "rathole_instances" "down" {
  status     = "down"
  depends_on = [rathole_instance.test, rathole_instance.eu]
}
data "rathole_manager" "this" {
  depends_on = [rathole_instance.test, rathole_instance.eu]
}
`
	list := func(name string, ids ...string) statecheck.StateCheck {
		checks := []knownvalue.Check{}
		for _, id := range ids {
			checks = append(checks, knownvalue.ObjectPartial(map[string]knownvalue.Check{"server_id": knownvalue.StringExact(id), "status": knownvalue.NotNull()}))
		}
		return statecheck.ExpectKnownValue("data.rathole_instances."+name, at("instances"), knownvalue.ListExact(checks))
	}
	manager := func(path tfjsonpath.Path, check knownvalue.Check) statecheck.StateCheck {
		return statecheck.ExpectKnownValue("data.rathole_manager.this", path, check)
	}
	b.run(t, resource.TestStep{
		Config: b.config("srv", b.game()+"labels = { tier = \"gold\" }\n") +
			b.bare("eu", "eu-1", fmt.Sprintf("game_port = %d\n", b.Ports[1])) + reads,
		ConfigStateChecks: []statecheck.StateCheck{
			list("all", "eu-1", "srv"), list("eu", "eu-1"), list("labelled", "srv"), list("healthy", "srv"), list("down"),
			manager(at("version"), knownvalue.StringExact("test")), manager(at("engine_version"), knownvalue.StringExact("0.5.0")),
			manager(at("control_ports").AtMapKey("allocated"), knownvalue.Int64Exact(2)),
			manager(at("public_ports").AtMapKey("uses").AtMapKey(fmt.Sprintf("%d/udp", b.Ports[1])), knownvalue.StringExact("eu-1")),
		},
	})
}

// storyClientConfig hands a config with its secrets to another provider, which may show it; the state of ours never does.
func storyClientConfig(t *testing.T, b backend) {
	const reads = `
ephemeral "rathole_client_config" "test" {
  server_id = rathole_instance.test.server_id
  revision  = rathole_instance.test.revision
  host_ip   = "10.0.0.7"
}
provider "echo" {
  data = { remote = provider::rathole::parse_client_config(ephemeral.rathole_client_config.test.config), sha256 = ephemeral.rathole_client_config.test.sha256 }
}
resource "echo" "test" {}
`
	echo := func(path tfjsonpath.Path, check knownvalue.Check) statecheck.StateCheck {
		return statecheck.ExpectKnownValue("echo.test", path, check)
	}
	b.runWith(t, factories{
		"rathole": providerserver.NewProtocol6WithError(testProvider(nil)), "echo": echoprovider.NewProviderServer(),
	}, resource.TestStep{
		Config: b.provider() + b.bare("test", "srv", b.game()) + reads,
		ConfigStateChecks: []statecheck.StateCheck{
			echo(at("data").AtMapKey("sha256"), knownvalue.NotNull()),
			echo(at("data").AtMapKey("remote").AtMapKey("services").AtMapKey("game_udp").AtMapKey("local_host"), knownvalue.StringExact("10.0.0.7")),
		},
	})
}
