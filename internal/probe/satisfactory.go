package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// The lightweight query of Satisfactory 1.0 and later, on the game port over UDP. Its layout stands in the game's own headers
// (EServerStatePollingReqProtocolVersion::SecondVersion in FGServerQuerySocket.h): little-endian, a byte 1 at the end.
const (
	satisfactoryMagic    = 0xF6D5
	satisfactoryPoll     = 0
	satisfactoryState    = 1
	satisfactoryProtocol = 1
	satisfactoryEnd      = 1
)

// satisfactory is one poll. The cookie comes back in the answer: who does not see the question cannot answer it.
type satisfactory struct{ cookie uint64 }

func newSatisfactory() satisfactory { return satisfactory{cookie: rand.Uint64()} }

func (s satisfactory) question() []byte {
	q := binary.LittleEndian.AppendUint16(nil, satisfactoryMagic)
	q = append(q, satisfactoryPoll, satisfactoryProtocol)
	q = binary.LittleEndian.AppendUint64(q, s.cookie)
	return append(q, satisfactoryEnd)
}

func (s satisfactory) read(datagram []byte) (info api.GameInfo, again bool, err error) {
	r := &reader{rest: datagram}
	if r.uint16() != satisfactoryMagic || r.uint8() != satisfactoryState {
		return info, false, errors.New("no server state")
	}
	if version := r.uint8(); version != satisfactoryProtocol {
		return info, false, fmt.Errorf("version %d of the query", version)
	}
	if cookie := r.bytes(8); !bytes.Equal(cookie, binary.LittleEndian.AppendUint64(nil, s.cookie)) {
		return info, false, errors.New("it answers another question")
	}
	info.State = satisfactoryStateName(r.uint8())
	info.Version = strconv.FormatUint(uint64(r.uint32()), 10)
	const modded = 1
	if flags := r.bytes(8); len(flags) > 0 && flags[0]&modded != 0 {
		info.Game = "Satisfactory (modded)"
	} else {
		info.Game = "Satisfactory"
	}
	const subState = 3 // an id and a version of two bytes; they tell only that something changed
	r.bytes(int(r.uint8()) * subState)
	info.Name = clean(string(r.bytes(int(r.uint16()))))
	if end := r.uint8(); r.short || end != satisfactoryEnd || len(r.rest) > 0 {
		return api.GameInfo{}, false, errShort
	}
	return info, false, nil
}

// satisfactoryStateName names a value of the game's EServerState.
func satisfactoryStateName(state uint8) string {
	switch state {
	case 0:
		return "offline"
	case 1:
		return "idle"
	case 2:
		return "loading"
	case 3:
		return "playing"
	default:
		return strconv.Itoa(int(state))
	}
}
