package provider

import (
	"fmt"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
)

// TestManagerKnownAfterApply: the manager's machine stands in the same configuration, so its URL is not known in the plan that
// makes it, nor in one that replaces it.
func TestManagerKnownAfterApply(t *testing.T) {
	t.Parallel()
	b := newFake(t).backend()
	config := func(machine, more string) string {
		return fmt.Sprintf("resource \"terraform_data\" \"vps\" {\n  input = %q\n  triggers_replace = %q\n}\n", b.ManagerURL, machine) +
			fmt.Sprintf("provider \"rathole\" {\n  manager_url = terraform_data.vps.output\n  token = %q\n}\n", b.Token.Reveal()) +
			b.instance("test", "srv", b.game()) + more
	}
	data := func(body string) string { return "data \"rathole_manager\" \"this\" {\n" + body + "}\n" }
	version := statecheck.ExpectKnownValue("data.rathole_manager.this", at("version"), knownvalue.StringExact("test"))
	b.run(t,
		resource.TestStep{
			Config: config("1", data("")),
			ExpectError: says("Unable to read manager", "manager_url cannot be used: it is known only after apply", "terraform apply -target=ADDRESS",
				"depends_on = [ADDRESS]"),
		},
		resource.TestStep{
			Config:            config("1", data("depends_on = [terraform_data.vps]\n")),
			ConfigPlanChecks:  planned(plancheck.ResourceActionCreate),
			ConfigStateChecks: []statecheck.StateCheck{expect("status", knownvalue.StringExact("healthy")), inSync(), version},
		},
		resource.TestStep{
			Config: config("2", data("depends_on = [terraform_data.vps]\n")),
			ConfigPlanChecks: planned(plancheck.ResourceActionNoop,
				plancheck.ExpectResourceAction("terraform_data.vps", plancheck.ResourceActionReplace)),
			ConfigStateChecks: []statecheck.StateCheck{expect("status", knownvalue.StringExact("healthy")), inSync(), version},
			Check:             func(*terraform.State) error { return b.has(t, 1, 1) },
		},
	)
}
