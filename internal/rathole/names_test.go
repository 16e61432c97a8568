package rathole

import (
	"regexp"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// The functions and the patterns that schemas show are one rule.
func TestNamesMatchTheirPatterns(t *testing.T) {
	t.Parallel()
	rules := []struct {
		pattern string
		valid   func(string) bool
	}{{ServerIDPattern, ValidServerID}, {ServicePattern, ValidService}, {EngineServicePattern, validEngineService}}
	names := []string{
		"", "a", "A", "0", "-", "_", "a-", "-a", "_a", "a_b", "aB", "a.b", "a b", "a/b", "..", "é", "a\n", "a\x00", "srv_user123_abcd1234",
		strings.Repeat("a", 32), strings.Repeat("a", 33), strings.Repeat("a", 64), strings.Repeat("a", 65),
	}
	for _, r := range rules {
		pattern := regexp.MustCompile(r.pattern)
		for _, name := range names {
			if got, want := r.valid(name), pattern.MatchString(name); got != want {
				t.Errorf("%q against %s: %t, want %t", name, r.pattern, got, want)
			}
		}
	}
}

func TestServiceName(t *testing.T) {
	t.Parallel()
	for _, p := range []api.Protocol{api.TCP, api.UDP} {
		service, protocol, ok := SplitServiceName(ServiceName("game-2", p))
		if service != "game-2" || protocol != p || !ok {
			t.Errorf("%q %q %t", service, protocol, ok)
		}
	}
	for _, name := range []string{"", "game", "_tcp", "game_sctp", "my_game_tcp", "Game_tcp", "game_tcp_"} {
		if _, _, ok := SplitServiceName(name); ok {
			t.Errorf("%q is taken for ours", name)
		}
	}
}

func TestValidHost(t *testing.T) {
	t.Parallel()
	label := strings.Repeat("a", 63)
	for host, want := range map[string]bool{
		"127.0.0.1": true, "::1": true, "::ffff:10.0.0.1": true, "localhost": true, "game": true, "a-b.example.com": true,
		"3com.com": true, "1.2.3.4.example": true, "0x.de": true, label: true,
		strings.Repeat(label+".", 3) + strings.Repeat("a", 61): true,
		strings.Repeat(label+".", 3) + strings.Repeat("a", 62): false,
		"": false, ".": false, "a.": false, ".a": false, "a..b": false, "-a": false, "a-": false, "a_b": false, "é.de": false,
		label + "a": false, "a b": false, "a:1": false, "[::1]": false, "fe80::1%eth0": false, "http://a": false, "a\n": false,
		"127.1": false, "2130706433": false, "0x7f000001": false, "0X7F.1": false, "127.0.0.01": false, "256.0.0.1": false, "a.0x1f": false,
	} {
		if got := ValidHost(host); got != want {
			t.Errorf("%q: %t, want %t", host, got, want)
		}
	}
}
