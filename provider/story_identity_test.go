package provider

import (
	"fmt"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfversion"
)

// storyIdentity is skipped by Terraform 1.11; make test-tofu has a command line that knows identities.
func storyIdentity(t *testing.T, b backend) {
	identified := []statecheck.StateCheck{statecheck.ExpectIdentity(address, map[string]knownvalue.Check{"server_id": knownvalue.StringExact("srv")})}
	unitTest(t, resource.TestCase{
		TerraformVersionChecks:   []tfversion.TerraformVersionCheck{tfversion.SkipBelow(tfversion.Version1_12_0)},
		ProtoV6ProviderFactories: ratholeAlone(),
		CheckDestroy:             func(*terraform.State) error { return b.has(t, 0, 0) },
		Steps: []resource.TestStep{
			{
				Config:            b.config("srv", b.game()),
				ConfigStateChecks: identified,
			},
			{ResourceName: address, ImportState: true, ImportStateKind: resource.ImportBlockWithResourceIdentity},
			{ // an update and a refresh keep it
				Config:            b.config("srv", b.game()+fmt.Sprintf("beacon_port = %d\n", b.Ports[1])),
				ConfigStateChecks: identified,
			},
			{ResourceName: address, ImportState: true, ImportStateKind: resource.ImportBlockWithResourceIdentity},
		},
	})
}
