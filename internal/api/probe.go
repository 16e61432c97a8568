package api

// PathProbe asks an instance's game whether players reach it.
const PathProbe = PathInstance + "/probe"

// ProbeKind is how a service's game is asked whether it is there: a query protocol of games, or a bare connection.
type ProbeKind string

// The kinds of probe. All but ProbeNone may be chosen for a service that carries the kind's protocol.
const (
	ProbeTCP          ProbeKind = "tcp"          // TCP: connect, and see that nobody hangs up
	ProbeSatisfactory ProbeKind = "satisfactory" // UDP: the lightweight query of Satisfactory 1.0 and later, on its game port
	ProbeA2S          ProbeKind = "a2s"          // UDP: A2S_INFO of Source and Steam games, on their query port
	ProbeMinecraft    ProbeKind = "minecraft"    // TCP: the server list ping of Minecraft's Java edition
	ProbeBedrock      ProbeKind = "bedrock"      // UDP: the unconnected ping of Minecraft's Bedrock edition
	ProbeNone         ProbeKind = "none"         // nothing that the game would answer is known
)

// The reasons for which a game was not reached.
const (
	ReasonPortClosed   = "port_closed"    // nothing listens on the public port
	ReasonClosedAtOnce = "closed_at_once" // a connection was accepted and hung up before a word: no client, or no game behind it
	ReasonNoAnswer     = "no_answer"      // the port is open, and nothing came in time
	ReasonBadAnswer    = "bad_answer"     // what came is not of the kind's protocol
	ReasonUnreachable  = "unreachable"    // the public port could not be dialled at all
	ReasonPortStolen   = "port_stolen"    // who answers is another program on the manager's machine
	ReasonNotProbed    = "not_probed"     // nobody was asked
)

// GameInfo is what a game says of itself; what it does not say is left out. The text is the game's own, cleaned of control
// characters and cut to 128 characters.
type GameInfo struct {
	Name       string `json:"name,omitempty" doc:"What the server calls itself."`
	Game       string `json:"game,omitempty" doc:"The game or its edition."`
	Version    string `json:"version,omitempty" doc:"Version of the game; for Satisfactory the changelist that clients must share."`
	Map        string `json:"map,omitempty" doc:"Map, world or level."`
	State      string `json:"state,omitempty" doc:"Satisfactory: offline, idle (no save is loaded), loading or playing. Only a playing server can be joined."`
	Players    *int   `json:"players,omitempty" doc:"Players at this moment."`
	MaxPlayers *int   `json:"max_players,omitempty" doc:"Players at the most."`
}

// ProbeResult is what became of the probe of one service.
type ProbeResult struct {
	Protocol Protocol  `json:"protocol" doc:"What the question went over; for kind none what the service carries."`
	Kind     ProbeKind `json:"kind" enum:"tcp,satisfactory,a2s,minecraft,bedrock,none"`
	OK       bool      `json:"ok" doc:"A player's question got its answer. For kind tcp: a connection was accepted and not hung up."`
	RTTMS    float64   `json:"rtt_ms,omitempty" doc:"From question to answer through the tunnel, in milliseconds; for kind tcp the connect, which ends at the tunnel's near end."`
	Reason   string    `json:"reason,omitempty" doc:"One word for programs, when ok is false: port_closed, closed_at_once, no_answer, bad_answer, unreachable, port_stolen or not_probed."`
	Message  string    `json:"message,omitempty" doc:"A sentence for people, when ok is false: what is wrong and what can be done."`
	Game     *GameInfo `json:"game,omitempty" doc:"What the game says of itself."`
}

// ProbeReport is the body of POST /api/instances/{id}/probe.
type ProbeReport struct {
	ServerID  string                 `json:"server_id"`
	Reachable bool                   `json:"reachable" doc:"At least one service was probed, and each that was probed is ok."`
	Services  map[string]ProbeResult `json:"services" nullable:"false"`
}
