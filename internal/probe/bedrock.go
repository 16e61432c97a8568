package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// RakNet's unconnected ping and pong, as Minecraft's Bedrock edition speaks it (wiki.bedrock.dev/servers/raknet-and-mcpe):
// big-endian.
const (
	raknetPing  = 0x01
	raknetPong  = 0x1c
	raknetMagic = "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"
)

// bedrock is one ping. The time comes back in the pong; a random one serves as well, and cannot be guessed.
type bedrock struct{ time, guid uint64 }

func newBedrock() bedrock { return bedrock{time: rand.Uint64(), guid: rand.Uint64()} }

func (b bedrock) question() []byte {
	q := binary.BigEndian.AppendUint64([]byte{raknetPing}, b.time)
	q = append(q, raknetMagic...)
	return binary.BigEndian.AppendUint64(q, b.guid)
}

func (b bedrock) read(datagram []byte) (info api.GameInfo, again bool, err error) {
	const head = 1 + 8 + 8 + len(raknetMagic) + 2
	if len(datagram) < head || datagram[0] != raknetPong || string(datagram[17:33]) != raknetMagic {
		return info, false, errors.New("no RakNet pong")
	}
	if !bytes.Equal(datagram[1:9], binary.BigEndian.AppendUint64(nil, b.time)) {
		return info, false, errors.New("it answers another ping")
	}
	size := int(binary.BigEndian.Uint16(datagram[33:]))
	if size > len(datagram)-head {
		return info, false, errShort
	}
	// Edition;name;protocol;version;players;most players;id;level;mode;…
	f := strings.Split(string(datagram[head:head+size]), ";")
	if (f[0] != "MCPE" && f[0] != "MCEE") || len(f) < 6 {
		return info, false, errors.New("a RakNet server, but not Minecraft's")
	}
	info = api.GameInfo{
		Name: clean(uncoloured(f[1])), Game: f[0], Version: clean(f[3]), Players: countText(f[4]), MaxPlayers: countText(f[5]),
	}
	if len(f) > 7 {
		info.Map = clean(uncoloured(f[7]))
	}
	return info, false, nil
}
