package provider

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/compare"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

func TestStoriesOnFakes(t *testing.T) {
	t.Parallel()
	stories(t, func(t *testing.T) backend { return newFake(t).backend() })
}

// stories are what must hold on any backend.
func stories(t *testing.T, newBackend func(*testing.T) backend) {
	for name, story := range map[string]func(*testing.T, backend){
		"life cycle":              storyLifeCycle,
		"services":                storyServices,
		"port given away":         storyPortGivenAway,
		"probe":                   storyProbe,
		"server half only":        storyServerHalfOnly,
		"disabled":                storyDisabled,
		"halves gone":             storyHalvesGone,
		"replaced":                storyReplaced,
		"created before its end":  storyCreatedBeforeItsEnd,
		"port passed on":          storyPortPassedOn,
		"ports swapped within":    storyPortsSwappedWithin,
		"instance exists":         storyInstanceExists,
		"left by a killed apply":  storyAdopted,
		"generated config":        storyGeneratedConfig,
		"import of what is not":   storyImportMissing,
		"identity":                storyIdentity,
		"agent known after apply": storyAgentKnownAfterApply,
		"data sources":            storyDataSources,
		"client config":           storyClientConfig,
		"restart":                 storyRestart,
		"rotate secret":           storyRotateSecret,
		"ask the game":            storyAskGame,
		"query":                   storyQuery,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, newBackend(t))
		})
	}
}

func at(name string) tfjsonpath.Path { return tfjsonpath.New(name) }

func expect(name string, value knownvalue.Check) statecheck.StateCheck {
	return statecheck.ExpectKnownValue(address, at(name), value)
}

func inSync() statecheck.StateCheck { return expect("drift", knownvalue.ListSizeExact(0)) }

// planned checks the action of the plan before it is applied.
func planned(action plancheck.ResourceActionType, more ...plancheck.PlanCheck) resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{PreApply: append([]plancheck.PlanCheck{plancheck.ExpectResourceAction(address, action)}, more...)}
}

func storyLifeCycle(t *testing.T, b backend) {
	data := "data \"rathole_instance\" \"test\" {\n  server_id = rathole_instance.test.server_id\n}\n"
	beacon := func(port int) string { return fmt.Sprintf("beacon_port = %d\n", port) }
	b.run(t,
		resource.TestStep{
			Config:           b.config("srv", b.game()+beacon(b.Ports[1])) + data,
			ConfigPlanChecks: planned(plancheck.ResourceActionCreate, plancheck.ExpectKnownValue(address, at("id"), knownvalue.StringExact("srv"))),
			ConfigStateChecks: []statecheck.StateCheck{
				expect("id", knownvalue.StringExact("srv")), expect("status", knownvalue.StringExact("healthy")),
				expect("host_ip", knownvalue.StringExact("127.0.0.1")), expect("transport", knownvalue.StringExact("tcp")),
				expect("enabled", knownvalue.Bool(true)), expect("rathole_port", knownvalue.NotNull()), expect("revision", knownvalue.NotNull()),
				expect("client_config_sha256", knownvalue.StringRegexp(regexp.MustCompile("^[0-9a-f]{64}$"))),
				expect("endpoints", knownvalue.MapPartial(map[string]knownvalue.Check{
					"game": knownvalue.StringRegexp(regexp.MustCompile(fmt.Sprintf(":%d$", b.Ports[0]))),
				})), inSync(),
				statecheck.ExpectKnownValue("data.rathole_instance.test", at("conditions"), knownvalue.NotNull()),
				statecheck.ExpectKnownValue("data.rathole_instance.test", at("services"), knownvalue.MapSizeExact(2)),
			},
			Check: noSecrets(b),
		},
		resource.TestStep{ResourceName: address, ImportState: true, ImportStateId: "srv", ImportStateVerify: true},
		resource.TestStep{ResourceName: address, ImportState: true, ImportStateId: "srv", ImportStateKind: resource.ImportBlockWithID},
		resource.TestStep{
			Config: b.config("srv", b.game()+beacon(b.Ports[2])) + data,
			ConfigPlanChecks: planned(plancheck.ResourceActionUpdate,
				plancheck.ExpectKnownValue(address, at("rathole_port"), knownvalue.NotNull()), plancheck.ExpectUnknownValue(address, at("endpoints"))),
			ConfigStateChecks: []statecheck.StateCheck{expect("status", knownvalue.StringExact("healthy")), inSync()},
		},
		resource.TestStep{
			Config: b.config("srv", b.game()+beacon(b.Ports[2])+"labels = { owner = \"me\" }\n"+hasty) + data,
			ConfigPlanChecks: planned(plancheck.ResourceActionUpdate,
				plancheck.ExpectKnownValue(address, at("endpoints"), knownvalue.MapSizeExact(2))),
			ConfigStateChecks: []statecheck.StateCheck{inSync()},
		},
		resource.TestStep{
			Config: b.config("srv", b.game()+beacon(b.Ports[2])+"labels = { owner = \"me\" }\nforce_destroy = true\nwait_for_connection = false\n") + data,
			ConfigPlanChecks: planned(plancheck.ResourceActionUpdate,
				plancheck.ExpectKnownValue(address, at("status"), knownvalue.StringExact("healthy")),
				plancheck.ExpectKnownValue(address, at("revision"), knownvalue.NotNull())),
		},
	)
}

// noSecrets checks that neither the API token nor a secret of the tunnel is in the state.
func noSecrets(b backend) resource.TestCheckFunc {
	return func(s *terraform.State) error {
		text, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if !strings.Contains(string(text), "srv") {
			return fmt.Errorf("the state is not where it is looked for: %s", text)
		}
		for _, s := range []string{b.Token.Reveal(), tunnelSecret, "remote_addr"} {
			if strings.Contains(string(text), s) {
				return fmt.Errorf("the state holds %q", s)
			}
		}
		return nil
	}
}

func storyServices(t *testing.T, b backend) {
	query := "query = { protocols = [\"udp\"], local_port = 15777 }\n"
	voice := fmt.Sprintf("voice = { protocols = [\"tcp\", \"udp\"], local_port = 9987, public_port = %d, local_host = \"127.0.0.1\" }\n", b.Ports[3])
	var chosen knownSame
	b.run(t,
		resource.TestStep{
			Config:            b.config("srv", "services = {\n"+query+"}\n"),
			ConfigStateChecks: []statecheck.StateCheck{expect("services", chosen.port("query")), expect("game_port", knownvalue.Null()), inSync()},
		},
		resource.TestStep{ResourceName: address, ImportState: true, ImportStateId: "srv", ImportStateVerify: true},
		resource.TestStep{
			Config:           b.config("srv", "services = {\n"+query+voice+"}\n"),
			ConfigPlanChecks: planned(plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{
				expect("services", chosen.port("query")), expect("endpoints", knownvalue.MapSizeExact(2)), inSync(),
			},
		},
		resource.TestStep{
			Config:            b.config("srv", "services = {\n"+voice+"}\nlabels = {}\n"),
			ConfigPlanChecks:  planned(plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{expect("endpoints", knownvalue.MapSizeExact(1)), inSync()},
		},
		resource.TestStep{
			Config:            b.config("srv", b.game()),
			ConfigPlanChecks:  planned(plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{expect("services", knownvalue.Null()), inSync()},
		},
	)
}

// storyProbe changes how a game is asked, by either form, and gives the agent nothing to do.
func storyProbe(t *testing.T, b backend) {
	query := func(probe string) string {
		return fmt.Sprintf("services = { query = { protocols = [\"tcp\", \"udp\"], local_port = 15777%s } }\n", probe)
	}
	probe := func(kind string) knownvalue.Check {
		return knownvalue.MapPartial(map[string]knownvalue.Check{
			"query": knownvalue.ObjectPartial(map[string]knownvalue.Check{"probe": knownvalue.StringExact(kind)}),
		})
	}
	data := "data \"rathole_instance\" \"test\" {\n  server_id = rathole_instance.test.server_id\n}\n"
	guide, named := statecheck.CompareValue(compare.ValuesSame()), statecheck.CompareValue(compare.ValuesSame())
	sha := at("client_config_sha256")
	var chosen knownSame
	endpoints := plancheck.ExpectKnownValue(address, at("endpoints"), knownvalue.MapSizeExact(1))
	b.run(t,
		resource.TestStep{
			Config:            b.config("srv", b.game()),
			ConfigStateChecks: []statecheck.StateCheck{expect("probe", knownvalue.Null()), guide.AddStateValue(address, sha), inSync()},
		},
		resource.TestStep{
			Config:           b.config("srv", b.game()+"probe = \"satisfactory\"\n"+hasty) + data,
			ConfigPlanChecks: planned(plancheck.ResourceActionUpdate, endpoints),
			ConfigStateChecks: []statecheck.StateCheck{
				expect("probe", knownvalue.StringExact("satisfactory")), expect("status", knownvalue.StringExact("healthy")), guide.AddStateValue(address, sha), inSync(),
				statecheck.ExpectKnownValue("data.rathole_instance.test", at("probe"), knownvalue.StringExact("satisfactory")),
			},
		},
		resource.TestStep{ResourceName: address, ImportState: true, ImportStateId: "srv", ImportStateVerify: true, ImportStateVerifyIgnore: []string{"timeouts"}},
		resource.TestStep{
			Config:           b.config("srv", query(`, probe = "a2s"`)) + data,
			ConfigPlanChecks: planned(plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{
				expect("services", probe("a2s")), expect("services", chosen.port("query")), expect("probe", knownvalue.Null()), named.AddStateValue(address, sha), inSync(),
				statecheck.ExpectKnownValue("data.rathole_instance.test", at("services"), probe("a2s")),
			},
		},
		resource.TestStep{
			Config:           b.config("srv", query(`, probe = "tcp"`)),
			ConfigPlanChecks: planned(plancheck.ResourceActionUpdate, endpoints),
			ConfigStateChecks: []statecheck.StateCheck{
				expect("services", probe("tcp")), expect("services", chosen.port("query")), named.AddStateValue(address, sha), inSync(),
			},
		},
		resource.TestStep{
			Config:            b.config("srv", query("")),
			ConfigPlanChecks:  planned(plancheck.ResourceActionUpdate, endpoints),
			ConfigStateChecks: []statecheck.StateCheck{expect("services", chosen.port("query")), named.AddStateValue(address, sha), inSync()},
		},
	)
}

// knownSame checks that a service's public port is the same each time.
type knownSame struct{ first string }

func (k *knownSame) port(service string) knownvalue.Check {
	return knownPort{k, service}
}

type knownPort struct {
	*knownSame
	service string
}

// CheckValue implements knownvalue.Check.
func (k knownPort) CheckValue(v any) error {
	services, _ := v.(map[string]any)
	fields, _ := services[k.service].(map[string]any)
	port := fmt.Sprint(fields["public_port"])
	if port == "<nil>" || port == "0" {
		return fmt.Errorf("no public port in %v", v)
	}
	if k.first != "" && k.first != port {
		return fmt.Errorf("public port was %s, is %s", k.first, port)
	}
	k.first = port
	return nil
}

// String implements knownvalue.Check.
func (k knownPort) String() string { return "the same public port of " + k.service }

func storyServerHalfOnly(t *testing.T, b backend) {
	b.run(t,
		resource.TestStep{
			Config: b.provider() + b.bare("test", "srv", b.game()),
			ConfigStateChecks: []statecheck.StateCheck{
				expect("status", knownvalue.StringExact("inactive")), expect("client_config_sha256", knownvalue.Null()), inSync(),
			},
		},
		resource.TestStep{ResourceName: address, ImportState: true, ImportStateId: "srv", ImportStateVerify: true},
		resource.TestStep{
			Config:            b.config("srv", b.game()),
			ConfigPlanChecks:  planned(plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{expect("status", knownvalue.StringExact("healthy")), inSync()},
			Check:             func(*terraform.State) error { return b.has(t, 1, 1) },
		},
		resource.TestStep{
			Config:            b.provider() + b.bare("test", "srv", b.game()),
			ConfigPlanChecks:  planned(plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{expect("client_config_sha256", knownvalue.Null()), inSync()},
			Check:             func(*terraform.State) error { return b.has(t, 1, 0) },
		},
	)
}

func storyDisabled(t *testing.T, b backend) {
	b.run(t,
		resource.TestStep{
			Config:            b.config("srv", b.game()+"enabled = false\n"),
			ConfigStateChecks: []statecheck.StateCheck{expect("status", knownvalue.StringExact("disabled")), expect("client_config_sha256", knownvalue.Null()), inSync()},
			Check:             func(*terraform.State) error { return b.has(t, 1, 0) },
		},
		resource.TestStep{
			Config:            b.config("srv", b.game()),
			ConfigStateChecks: []statecheck.StateCheck{expect("status", knownvalue.StringExact("healthy")), inSync()},
		},
		resource.TestStep{
			Config:            b.config("srv", b.game()+"enabled = false\n"),
			ConfigPlanChecks:  planned(plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{expect("status", knownvalue.StringExact("disabled")), inSync()},
			Check:             func(*terraform.State) error { return b.has(t, 1, 0) },
		},
	)
}

func storyHalvesGone(t *testing.T, b backend) {
	repaired := []statecheck.StateCheck{expect("status", knownvalue.StringExact("healthy")), inSync()}
	repair := resource.TestStep{
		Config:            b.config("srv", b.game()),
		ConfigPlanChecks:  planned(plancheck.ResourceActionUpdate, plancheck.ExpectUnknownValue(address, at("status"))),
		ConfigStateChecks: repaired,
		Check:             func(*terraform.State) error { return b.has(t, 1, 1) },
	}
	clientGone, serverGone, bothGone := repair, repair, repair
	clientGone.PreConfig = func() { b.mustStop(t, "srv") }
	serverGone.PreConfig = func() { b.mustDelete(t, "srv") }
	bothGone.PreConfig = func() { b.mustDelete(t, "srv"); b.mustStop(t, "srv") }
	bothGone.ConfigPlanChecks = planned(plancheck.ResourceActionCreate)
	b.run(t,
		resource.TestStep{Config: b.config("srv", b.game()), ConfigStateChecks: repaired},
		resource.TestStep{
			PreConfig: func() { b.mustStop(t, "srv") }, RefreshState: true, ExpectNonEmptyPlan: true,
			Check: resource.ComposeTestCheckFunc(
				resource.TestMatchResourceAttr(address, "drift.0", regexp.MustCompile("^client: .* has no client srv")),
				resource.TestCheckNoResourceAttr(address, "client_config_sha256"),
			),
		},
		clientGone, serverGone, bothGone,
	)
}

func storyReplaced(t *testing.T, b backend) {
	b.run(t,
		resource.TestStep{Config: b.config("srv1", b.game())},
		resource.TestStep{
			Config:            b.config("srv2", b.game()),
			ConfigPlanChecks:  planned(plancheck.ResourceActionReplace),
			ConfigStateChecks: []statecheck.StateCheck{expect("id", knownvalue.StringExact("srv2")), inSync()},
			Check:             func(*terraform.State) error { return b.has(t, 1, 1) },
		},
		resource.TestStep{
			Config: b.config("srv2", b.game()), Taint: []string{address},
			ConfigPlanChecks:  planned(plancheck.ResourceActionReplace),
			ConfigStateChecks: []statecheck.StateCheck{expect("status", knownvalue.StringExact("healthy")), inSync()},
			Check:             func(*terraform.State) error { return b.has(t, 1, 1) },
		},
	)
}

func storyInstanceExists(t *testing.T, b backend) {
	b.mustCreate(t, "srv", api.InstanceSpec{GamePort: b.Ports[3]})
	b.run(t,
		resource.TestStep{
			Config:      b.config("srv", b.game()),
			ExpectError: regexp.MustCompile(`(?s)Unable to create instance.*terraform import rathole_instance\.NAME srv`),
		},
		resource.TestStep{
			PreConfig: func() { b.mustHave(t, 1, 0); b.mustDelete(t, "srv") },
			Config:    b.config("srv", b.game()), ConfigPlanChecks: planned(plancheck.ResourceActionCreate),
		},
	)
}

func storyAdopted(t *testing.T, b backend) {
	b.mustCreate(t, "srv", api.InstanceSpec{GamePort: b.Ports[0], AgentURL: b.AgentURL})
	b.run(t, resource.TestStep{
		Config:            b.config("srv", b.game()),
		ConfigStateChecks: []statecheck.StateCheck{expect("status", knownvalue.StringExact("healthy")), inSync()},
		Check:             func(*terraform.State) error { return b.has(t, 1, 1) },
	})
}

func storyImportMissing(t *testing.T, b backend) {
	b.run(t,
		resource.TestStep{
			Config: b.config("srv", b.game()), ResourceName: address, ImportState: true, ImportStateId: "srv",
			ExpectError: regexp.MustCompile("non-existent remote object"),
		},
		resource.TestStep{
			Config: b.config("srv", b.game()), ResourceName: address, ImportState: true, ImportStateId: "../etc",
			ExpectError: regexp.MustCompile("is not a server_id"),
		},
	)
}

func storyAgentKnownAfterApply(t *testing.T, b backend) {
	b.run(t, resource.TestStep{
		Config: b.provider() + fmt.Sprintf("resource \"terraform_data\" \"host\" {\n  input = %q\n}\n", b.AgentURL) +
			b.bare("test", "srv", b.game()+"agent_url = terraform_data.host.output\n"),
		ConfigPlanChecks:  planned(plancheck.ResourceActionCreate, plancheck.ExpectUnknownValue(address, at("agent_url"))),
		ConfigStateChecks: []statecheck.StateCheck{expect("status", knownvalue.StringExact("healthy")), inSync()},
	})
}
