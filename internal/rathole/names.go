package rathole

import (
	"net/netip"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// The patterns of names, for schemas and messages; ValidServerID and ValidService check the same.
const (
	// ServerIDPattern is narrow because a server_id becomes a directory, a unit name and part of a log file's name.
	ServerIDPattern = `^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`
	// ServicePattern has no underscore, so that the suffix of the engine's name is never ambiguous.
	ServicePattern = `^[a-z][a-z0-9-]{0,31}$`
	// EngineServicePattern is for the names inside a config. rathole takes any text, and writes it raw into its log.
	EngineServicePattern = `^[a-z0-9_-]{1,64}$`
)

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

// ValidServerID tells whether s may name an instance (ServerIDPattern).
func ValidServerID(s string) bool {
	return within(s, 64, lower+upper+digits+"_-") && s[0] != '_' && s[0] != '-'
}

// ValidService tells whether s may name a service (ServicePattern).
func ValidService(s string) bool {
	return within(s, 32, lower+digits+"-") && s[0] >= 'a' && s[0] <= 'z'
}

// validEngineService tells whether s may name a service inside a config (EngineServicePattern).
func validEngineService(s string) bool { return within(s, 64, lower+digits+"_-") }

// within tells whether s has 1 to limit bytes, all of them from set.
func within(s string, limit int, set string) bool {
	return len(s) >= 1 && len(s) <= limit && strings.Trim(s, set) == ""
}

// ServiceName is the engine's name of one protocol of a service: rathole knows no service that carries both.
func ServiceName(service string, p api.Protocol) string { return service + "_" + string(p) }

// SplitServiceName undoes ServiceName. ok is false for a name that ServiceName does not make from a valid service, such
// as one from a config that somebody wrote by hand.
func SplitServiceName(engineName string) (service string, p api.Protocol, ok bool) {
	for _, p := range []api.Protocol{api.TCP, api.UDP} {
		service, found := strings.CutSuffix(engineName, "_"+string(p))
		if found && ValidService(service) {
			return service, p, true
		}
	}
	return "", "", false
}

// ValidHost tells whether s is an IP address without a zone, or a host name after RFC 1123: up to 253 bytes in labels of
// up to 63 letters, digits and inner hyphens, no trailing dot. A name whose last label is a number is refused, because
// the resolver would read it as an address ("127.1", "0x7f000001", "2130706433") that no list of allowed targets knows.
func ValidHost(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Zone() == ""
	}
	if len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if !within(label, 63, lower+upper+digits+"-") || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	last := strings.ToLower(labels[len(labels)-1])
	if hex, isHex := strings.CutPrefix(last, "0x"); isHex && strings.Trim(hex, digits+"abcdef") == "" {
		return false
	}
	return strings.Trim(last, digits) != ""
}
