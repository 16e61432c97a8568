package provider

import (
	"fmt"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// storyCreatedBeforeItsEnd replaces an instance by itself: the create finds what is there, and the destroy of the old object
// must not take it away.
func storyCreatedBeforeItsEnd(t *testing.T, b backend) {
	config := func(name, trigger string) string {
		return b.provider() + fmt.Sprintf("resource \"terraform_data\" \"host\" {\n  triggers_replace = %q\n}\n", trigger) +
			b.instance(name, "srv", b.game()+"lifecycle {\n  create_before_destroy = true\n  replace_triggered_by = [terraform_data.host]\n}\n")
	}
	var uid string
	lives := func(same bool) resource.TestCheckFunc {
		return func(*terraform.State) error {
			inst, err := b.manager(t).Get(t.Context(), "srv")
			if err != nil {
				return err
			}
			if uid != "" && same && inst.UID != uid {
				return fmt.Errorf("it is another instance: %s, was %s", inst.UID, uid)
			}
			if uid = inst.UID; inst.Status != api.StatusHealthy {
				return fmt.Errorf("it is %s: %+v", inst.Status, inst.Conditions)
			}
			return b.has(t, 1, 1)
		}
	}
	healthy := []statecheck.StateCheck{expect("status", knownvalue.StringExact("healthy")), inSync()}
	b.run(t,
		resource.TestStep{Config: config("test", "1"), Check: lives(true)},
		resource.TestStep{
			Config: config("test", "1"), Taint: []string{address},
			ConfigPlanChecks:  planned(plancheck.ResourceActionCreateBeforeDestroy),
			ConfigStateChecks: healthy, Check: lives(true),
		},
		resource.TestStep{
			Config:            config("test", "2"),
			ConfigPlanChecks:  planned(plancheck.ResourceActionCreateBeforeDestroy),
			ConfigStateChecks: healthy, Check: lives(true),
		},
		// Another address for it, and no moved block: a create and a destroy, in no order.
		resource.TestStep{
			Config: config("other", "2"), Check: lives(false),
			ConfigPlanChecks: planned(plancheck.ResourceActionDestroy, plancheck.ExpectResourceAction("rathole_instance.other", plancheck.ResourceActionCreate)),
		},
		resource.TestStep{Config: config("other", "2"), PlanOnly: true},
	)
}

// TestCreatedBeforeItsEndOfAnother: what the old instance has, its successor cannot have before the old one is destroyed. The
// error says so, and the old instance goes on.
func TestCreatedBeforeItsEndOfAnother(t *testing.T) {
	t.Parallel()
	const (
		lifecycle = "lifecycle {\n  create_before_destroy = true\n}\n"
		way       = "take create_before_destroy out of its lifecycle block"
	)
	b := newFake(t).backend()
	old := b.config("srv", b.game()+lifecycle)
	b.run(t,
		resource.TestStep{Config: old},
		resource.TestStep{
			Config: b.config("srv", fmt.Sprintf("game_port = %d\n", b.Ports[1])+lifecycle), Taint: []string{address},
			ExpectError: says("Unable to create instance", "instance_exists", way),
		},
		resource.TestStep{
			Config:      b.config("srv2", b.game()+lifecycle),
			ExpectError: says("Unable to create instance", "port_in_use", "by instance srv", "waited for that instance to give the port up", way),
		},
		resource.TestStep{Config: old, Check: func(*terraform.State) error { return b.has(t, 1, 1) }},
		resource.TestStep{Config: b.config("srv2", b.game()), ConfigStateChecks: []statecheck.StateCheck{inSync()}},
	)
}
