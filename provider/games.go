package provider

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// game is the ports that a game's dedicated server has for its players, as it comes. Ports for administrators (RCON, web
// consoles) are left out on purpose: they do not belong on the internet.
type game struct {
	title    string
	source   string // where the ports are documented
	services map[string]gameService
}

type gameService struct {
	port      int
	protocols []api.Protocol
	probe     api.ProbeKind // how the game says whether it is there; empty: it is not asked
}

// games are the layouts that game_services knows, by name.
func games() map[string]game {
	tcp, udp, both := []api.Protocol{api.TCP}, []api.Protocol{api.UDP}, []api.Protocol{api.TCP, api.UDP}
	return map[string]game{
		"7-days-to-die": {"7 Days to Die", "https://developer.valvesoftware.com/wiki/7_Days_to_Die_Dedicated_Server", map[string]gameService{
			"game": {26900, both, api.ProbeA2S}, "steam-1": {26901, udp, ""}, "steam-2": {26902, udp, ""}, "steam-3": {26903, udp, ""},
		}},
		"ark": {"ARK: Survival Evolved", "https://ark.wiki.gg/wiki/Dedicated_server_setup", map[string]gameService{
			"game": {7777, udp, ""}, "raw": {7778, udp, ""}, "query": {27015, udp, api.ProbeA2S},
		}},
		"cs2": {"Counter-Strike 2", "https://developer.valvesoftware.com/wiki/Counter-Strike_2/Dedicated_Servers", map[string]gameService{
			"game": {27015, udp, api.ProbeA2S},
		}},
		"enshrouded": {"Enshrouded", "https://enshrouded.zendesk.com/hc/en-us/articles/16055441447709-Dedicated-Server-Configuration", map[string]gameService{
			"game": {15636, udp, ""}, "query": {15637, udp, api.ProbeA2S},
		}},
		"factorio": {"Factorio", "https://wiki.factorio.com/Multiplayer", map[string]gameService{
			"game": {34197, udp, ""},
		}},
		"minecraft-bedrock": {"Minecraft, Bedrock Edition", "https://minecraft.wiki/w/Bedrock_Dedicated_Server", map[string]gameService{
			"game": {19132, udp, api.ProbeBedrock},
		}},
		"minecraft-java": {"Minecraft, Java Edition", "https://minecraft.wiki/w/Tutorial:Setting_up_a_Java_Edition_server", map[string]gameService{
			"game": {25565, tcp, api.ProbeMinecraft},
		}},
		"palworld": {"Palworld", "https://docs.palworldgame.com/settings-and-operation/arguments", map[string]gameService{
			"game": {8211, udp, ""}, "query": {27015, udp, ""},
		}},
		"project-zomboid": {"Project Zomboid", "https://pzwiki.net/wiki/Dedicated_server", map[string]gameService{
			"game": {16261, udp, api.ProbeA2S}, "direct": {16262, udp, ""},
		}},
		"rust": {"Rust", "https://wiki.facepunch.com/rust/Creating-a-server", map[string]gameService{
			"game": {28015, udp, ""}, "query": {28017, udp, api.ProbeA2S}, "companion": {28082, tcp, ""},
		}},
		"satisfactory": {"Satisfactory", "https://satisfactory.wiki.gg/wiki/Dedicated_servers", map[string]gameService{
			"game": {7777, both, api.ProbeSatisfactory}, "messaging": {8888, tcp, ""},
		}},
		"terraria": {"Terraria", "https://terraria.wiki.gg/wiki/Server", map[string]gameService{
			"game": {7777, tcp, ""},
		}},
		"valheim": {"Valheim", "https://valheim.fandom.com/wiki/Dedicated_servers", map[string]gameService{
			"game": {2456, udp, ""}, "query": {2457, udp, api.ProbeA2S},
		}},
	}
}

// gameNames lists the layouts' names, sorted.
func gameNames() []string { return slices.Sorted(maps.Keys(games())) }

// gameTable is the layouts as a Markdown table, for the docs.
func gameTable() string {
	var b strings.Builder
	b.WriteString("| name | game | services | source |\n|---|---|---|---|\n")
	for _, name := range gameNames() {
		g := games()[name]
		var services []string
		for _, s := range slices.Sorted(maps.Keys(g.services)) {
			services = append(services, g.services[s].describe(s))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | [source](%s) |\n", name, g.title, strings.Join(services, ", "), g.source)
	}
	return b.String()
}

// describe is a service in words.
func (s gameService) describe(name string) string {
	text := fmt.Sprintf("%#q %d %s", name, s.port, words(s.protocols))
	if s.probe != "" {
		text += fmt.Sprintf(" (probe %#q)", s.probe)
	}
	return text
}

func words(protocols []api.Protocol) string {
	var all []string
	for _, p := range protocols {
		all = append(all, strings.ToUpper(string(p)))
	}
	return strings.Join(all, " and ")
}
