package provider

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// output runs a configuration of one output, and no provider block: functions need none.
func output(t *testing.T, expression string, check knownvalue.Check, refused string) {
	t.Helper()
	step := resource.TestStep{Config: fmt.Sprintf("output \"test\" {\n  value = %s\n}\n", expression)}
	if refused != "" {
		step.ExpectError = regexp.MustCompile(refused)
	} else {
		step.ConfigStateChecks = []statecheck.StateCheck{statecheck.ExpectKnownOutputValue("test", check)}
	}
	unitTest(t, resource.TestCase{ProtoV6ProviderFactories: ratholeAlone(), Steps: []resource.TestStep{step}})
}

func TestGameServices(t *testing.T) {
	t.Parallel()
	output(t, `provider::rathole::game_services("satisfactory")`, knownvalue.MapExact(map[string]knownvalue.Check{
		"game": knownvalue.ObjectExact(map[string]knownvalue.Check{
			"local_port": knownvalue.Int64Exact(7777), "probe": knownvalue.StringExact("satisfactory"),
			"protocols": knownvalue.SetExact([]knownvalue.Check{knownvalue.StringExact("tcp"), knownvalue.StringExact("udp")}),
		}),
		"messaging": knownvalue.ObjectExact(map[string]knownvalue.Check{
			"local_port": knownvalue.Int64Exact(8888), "probe": knownvalue.Null(), "protocols": knownvalue.SetExact([]knownvalue.Check{knownvalue.StringExact("tcp")}),
		}),
	}), "")
}

func TestGameServicesOfAnUnknownGame(t *testing.T) {
	t.Parallel()
	output(t, `provider::rathole::game_services("solitaire")`, nil, `(?s)"solitaire" is none of the games.*valheim`)
}

func TestGamesAreServicesThatAManagerTakes(t *testing.T) {
	t.Parallel()
	if len(games()) < 12 {
		t.Errorf("%d games", len(games()))
	}
	for name, g := range games() {
		if !strings.HasPrefix(g.source, "https://") || g.title == "" || len(g.services) == 0 {
			t.Errorf("%s: %+v", name, g)
		}
		seen := map[string]bool{}
		for service, s := range g.services {
			if !rathole.ValidService(service) || s.port < 1 || s.port > 65535 || len(s.protocols) == 0 {
				t.Errorf("%s %s: %+v", name, service, s)
			}
			for _, p := range s.protocols {
				key := fmt.Sprintf("%d/%s", s.port, p)
				if seen[key] || (p != api.TCP && p != api.UDP) {
					t.Errorf("%s names %s twice", name, key)
				}
				seen[key] = true
			}
		}
	}
}

func TestParseClientConfig(t *testing.T) {
	t.Parallel()
	const shared = `[client]
remote_addr = "vps.example.org:2333"
default_token = "the-secret"
[client.services.sat-1]
type = "udp"
local_addr = "127.0.0.1:7777"
[client.services.sat-1-api]
local_addr = "[::1]:7777"
`
	output(t, fmt.Sprintf("provider::rathole::parse_client_config(%q)", shared), knownvalue.ObjectExact(map[string]knownvalue.Check{
		"remote_host": knownvalue.StringExact("vps.example.org"), "remote_port": knownvalue.Int64Exact(2333), "transport": knownvalue.StringExact("tcp"),
		"services": knownvalue.MapExact(map[string]knownvalue.Check{
			"sat-1": knownvalue.ObjectExact(map[string]knownvalue.Check{
				"protocol": knownvalue.StringExact("udp"), "local_host": knownvalue.StringExact("127.0.0.1"), "local_port": knownvalue.Int64Exact(7777),
			}),
			"sat-1-api": knownvalue.ObjectExact(map[string]knownvalue.Check{
				"protocol": knownvalue.StringExact("tcp"), "local_host": knownvalue.StringExact("::1"), "local_port": knownvalue.Int64Exact(7777),
			}),
		}),
	}), "")
}

func TestParseClientConfigSaysWhereItIsWrong(t *testing.T) {
	t.Parallel()
	output(t, fmt.Sprintf("provider::rathole::parse_client_config(%q)", "[client]\nremote_addr = \"vps\"\n"), nil, `client.remote_addr\s+\(line\s+2\)`)
}
