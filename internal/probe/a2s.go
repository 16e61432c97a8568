package probe

import (
	"bytes"
	"errors"
	"slices"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// A2S_INFO as Valve documents it (developer.valvesoftware.com/wiki/Server_queries): little-endian, texts end with a zero
// byte. Since December 2020 a server may answer with a challenge first, which the question then carries at its end.
const (
	a2sQuestion  = "\xff\xff\xff\xffTSource Engine Query\x00"
	a2sWhole     = "\xff\xff\xff\xff"
	a2sSplit     = "\xfe\xff\xff\xff"
	a2sInfo      = 'I'
	a2sChallenge = 'A'
	a2sTheShip   = 2400 // the one game whose answer has three bytes more
)

// a2s is one question, with the challenge once there is one.
type a2s struct{ challenge []byte }

func (a *a2s) question() []byte { return append([]byte(a2sQuestion), a.challenge...) }

// read takes an answer in one datagram. One in several is refused: an info has some hundred bytes, and a server that splits it
// is none that was ever seen.
func (a *a2s) read(datagram []byte) (info api.GameInfo, again bool, err error) {
	body, whole := bytes.CutPrefix(datagram, []byte(a2sWhole))
	switch {
	case bytes.HasPrefix(datagram, []byte(a2sSplit)):
		return info, false, errors.New("its answer is split over several datagrams")
	case !whole || len(body) == 0:
		return info, false, errors.New("no A2S answer")
	case body[0] == a2sChallenge && len(body) == 5:
		a.challenge = slices.Clone(body[1:])
		return info, true, nil
	case body[0] != a2sInfo:
		return info, false, errors.New("no A2S_INFO answer")
	}
	r := &reader{rest: body[1:]}
	r.uint8() // the protocol's version, which differs from game to game
	info.Name, info.Map = clean(r.text()), clean(r.text())
	r.text() // the game's directory
	info.Game = clean(r.text())
	app := r.uint16()
	info.Players, info.MaxPlayers = count(int(r.uint8())), count(int(r.uint8()))
	r.bytes(5) // bots, kind of server, system, password, anti-cheat
	if app == a2sTheShip {
		r.bytes(3)
	}
	info.Version = clean(r.text())
	if r.short {
		return api.GameInfo{}, false, errShort
	}
	return info, false, nil
}
