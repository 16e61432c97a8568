package engine

import "github.com/satishost/terraform-provider-rathole/internal/api"

// Channel is what a control channel's TCP connection carries, in bytes: the mark by which the kernel's counters tell it
// from a stranger's connection and from an idle data channel.
type Channel struct {
	// FromClient is exactly what a client writes: its hello and its answer to the challenge, and then nothing ever again.
	FromClient uint64
	// FromServer is what a server has written at least once the client is let in: hello, challenge, verdict.
	FromServer uint64
}

// ControlChannel gives the figures of rathole v0.5.0 for a transport. They were measured, and a test holds them for the
// engine in use. A lasting stranger on plain TCP has sent at most 68 bytes and got 37; an idle data channel has sent 37.
func ControlChannel(transport string) Channel {
	if transport == string(api.TransportNoise) {
		return Channel{FromClient: 155, FromServer: 171}
	}
	return Channel{FromClient: 37 + 32, FromServer: 49}
}

// MayBeControlChannel tells whether a connection on which a client has written so many bytes can be a control channel, of
// whatever transport. Ten of twelve connections to a control port are idle data channels, and these it picks out.
func MayBeControlChannel(fromClient uint64) bool {
	return fromClient == ControlChannel(string(api.TransportTCP)).FromClient || fromClient == ControlChannel(string(api.TransportNoise)).FromClient
}
