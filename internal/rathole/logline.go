package rathole

import (
	"strings"
	"time"
)

// Kind is what a log line tells. Lines are hints for people and for finding causes; what is true, the kernel says.
type Kind string

// The kinds of lines, with rathole's words.
const (
	KindListening          Kind = "listening"           // server: "Listening at" its control port
	KindWatching           Kind = "watching"            // "Start watching the config": the last step of a start with hot reload
	KindServiceStarting    Kind = "service_starting"    // client: "Starting <digest>"
	KindControlEstablished Kind = "control_established" // both: "Control channel established"
	KindPublicListening    Kind = "public_listening"    // server: "Listening at" a service's public port
	KindReloadDetected     Kind = "reload_detected"     // "Service change detected": taken over while running
	KindGeneralChange      Kind = "general_change"      // "General configuration change detected": everything is made anew
	KindConfigInvalid      Kind = "config_invalid"      // "configuration is invalid": at a start fatal, in a reload ignored
	KindAddrInUse          Kind = "addr_in_use"         // server: "Address already in use"; for a public port it retries for ever
	KindAuthFailed         Kind = "auth_failed"         // both: a service's token is wrong
	KindServiceUnknown     Kind = "service_unknown"     // both: the server has no such service
	KindProtocolMismatch   Kind = "protocol_mismatch"   // client: a service is tcp on one side and udp on the other
	KindConnectionRefused  Kind = "connection_refused"  // client: nothing listens at remote_addr
	KindLocalRefused       Kind = "local_refused"       // client: a player came, and nothing listens at local_addr
	KindLookupFailed       Kind = "lookup_failed"       // client: remote_addr's name does not resolve
	KindHeartbeatTimeout   Kind = "heartbeat_timeout"   // client: the server was silent for too long
	KindHandshakeFailed    Kind = "handshake_failed"    // both: wrong noise key, other transport, or a silent stranger
	KindClientLost         Kind = "client_lost"         // server: a channel to the client broke
	KindControlShutdown    Kind = "control_shutdown"    // both: "Control channel shutdown", for whatever reason
	KindPreempted          Kind = "preempted"           // server: "Dropping previous control channel": two clients, or one anew
	KindPanic              Kind = "panic"               // standard error: the engine aborts
	KindOther              Kind = "other"
)

// Line is one line of the engine's log or of its standard error. Whatever could not be read is zero.
type Line struct {
	Time    time.Time // UTC, microseconds
	Level   string    // ERROR, WARN, INFO, DEBUG or TRACE
	Service string    // the engine's name of a service
	Kind    Kind
	Text    string // the message without time, level, spans and target; free of control characters
}

// ParseLine reads one line. It takes anything: what does not look like the engine's log becomes Text.
func ParseLine(s string) Line {
	s = strings.TrimSpace(clean(s))
	l := Line{Text: s}
	stamp, rest, _ := strings.Cut(s, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		l.Kind = kindOf("", s)
		return l
	}
	l.Time = at
	level, rest, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	switch level {
	case "ERROR", "WARN", "INFO", "DEBUG", "TRACE":
		l.Level = level
	default:
		rest = level + " " + rest
	}
	spans, message := splitTarget(strings.TrimLeft(rest, " "))
	l.Text = message
	l.Kind = kindOf(spans, message)
	l.Service = serviceOf(spans, message)
	return l
}

// splitTarget cuts `connection{..}:handle{..}: rathole::server: message` before and after the target.
func splitTarget(s string) (spans, message string) {
	for from := 0; ; {
		at := strings.Index(s[from:], "rathole")
		if at < 0 {
			return "", s
		}
		begin, end := from+at, from+at+len("rathole")
		spans, rest := s[:begin], strings.TrimLeft(s[end:], lower+"_:")
		target := s[end : len(s)-len(rest)]
		if (spans == "" || strings.HasSuffix(spans, ": ")) && strings.HasSuffix(target, ":") && strings.HasPrefix(rest, " ") {
			return spans, rest[1:]
		}
		from = end
	}
}

func serviceOf(spans, message string) string {
	for _, from := range []struct{ text, before, after string }{
		{spans, "handle{service=", "}"},
		{message, "Control channel established service=", " "},
		{message, "Dropping previous control channel for service ", " "},
		{message, "Service ", " failed the authentication"},
	} {
		_, name, found := strings.Cut(from.text, from.before)
		if !found {
			continue
		}
		if name, _, found = strings.Cut(name, from.after); found || from.after == " " {
			return name
		}
	}
	return ""
}

// kindOf goes by the beginning of a message where rathole wrote it, and by its parts where it is a chain of causes. The
// order matters: a chain names the outer failure first, and the inner one says more.
func kindOf(spans, message string) Kind {
	for _, rule := range []struct {
		begins string
		kind   Kind
	}{
		{"Start watching the config", KindWatching},
		{"Starting ", KindServiceStarting},
		{"Control channel established", KindControlEstablished},
		{"Control channel shutdown", KindControlShutdown},
		{"Service change detected", KindReloadDetected},
		{"General configuration change detected", KindGeneralChange},
		{"Dropping previous control channel", KindPreempted},
		{"No such a service", KindServiceUnknown},
		{"Transport handshake timeout", KindHandshakeFailed},
		{"Failed to do transport handshake", KindHandshakeFailed},
		{"Failed to deserialize hello", KindHandshakeFailed},
		{"Failed to write control cmds", KindClientLost},
		{"Failed to flush control cmds", KindClientLost},
		{"called `Result::unwrap()`", KindPanic},
	} {
		if strings.HasPrefix(message, rule.begins) {
			return rule.kind
		}
	}
	if strings.HasPrefix(message, "Listening at ") {
		if strings.Contains(spans, "_connection_pool") {
			return KindPublicListening
		}
		return KindListening
	}
	if strings.HasPrefix(message, "thread '") && strings.Contains(message, "panicked at") {
		return KindPanic
	}
	if strings.HasPrefix(message, "Service ") && strings.HasSuffix(message, " failed the authentication") {
		return KindAuthFailed
	}
	for _, rule := range []struct {
		begins, has string
		kind        Kind
	}{
		{"", "onfiguration is invalid", KindConfigInvalid},
		{"", "Address already in use", KindAddrInUse},
		{"", "Service not exist", KindServiceUnknown},
		{"", "Authentication failed: ", KindAuthFailed},
		{"", "traffic. Please check the configuration", KindProtocolMismatch},
		{"", "Heartbeat timed out", KindHeartbeatTimeout},
		{"", "Failed to do noise handshake", KindHandshakeFailed},
		{"", "Failed to read hello", KindHandshakeFailed},
		{"", "failed to lookup address information", KindLookupFailed},
		{"", "Failed to lookup the host", KindLookupFailed},
		{"Failed to run the data channel: ", "Connection refused", KindLocalRefused},
		{"", "Connection refused", KindConnectionRefused},
		{"Failed to run TCP connection pool: ", "unexpected end of file", KindClientLost},
		{"Failed to run TCP connection pool: ", "Connection reset by peer", KindClientLost},
		{"Failed to run TCP connection pool: ", "Broken pipe", KindClientLost},
	} {
		if strings.HasPrefix(message, rule.begins) && strings.Contains(message, rule.has) {
			return rule.kind
		}
	}
	return KindOther
}
