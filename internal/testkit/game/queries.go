package game

import (
	"bytes"
	"io"
	"net"
	"slices"
)

// The answers here are written out byte by byte from what is documented or was recorded elsewhere, and share no code with what
// is tested on them.

// Satisfactory answers the lightweight query of a dedicated server. The layout is that of the game's own header
// FGServerQuerySocket.h (in satisfactorymodding/SatisfactoryModLoader, Source/FactoryGame/Public/Server); the values are those
// that the README of DJWoodZ/satisfactory-dedicated-server-lightweight-query-probe shows of a live server: state 3 "Game
// ongoing", version 366202, no flags, four sub states, name "Satisfactory Server".
func Satisfactory(question []byte) []byte {
	if len(question) != 13 || !bytes.HasPrefix(question, []byte{0xD5, 0xF6, 0x00, 0x01}) || question[12] != 0x01 {
		return nil
	}
	return slices.Concat(
		[]byte{0xD5, 0xF6, 0x01, 0x01},
		question[4:12], // the cookie
		[]byte{0x03},   // playing
		[]byte{0x7A, 0x96, 0x05, 0x00},
		[]byte{0, 0, 0, 0, 0, 0, 0, 0},
		[]byte{0x04, 0x00, 0x11, 0x00, 0x01, 0x01, 0x00, 0x03, 0x05, 0x00, 0x02, 0x01, 0x00},
		[]byte{0x13, 0x00}, []byte("Satisfactory Server"),
		[]byte{0x01},
	)
}

// dayZ is an A2S_INFO answer of a DayZ server, as the README of wriley/steamserverinfo shows it.
const dayZ = "\xff\xff\xff\xff\x49\x11\x2f\x72\x2f\x44\x61\x79\x7a\x55\x6e\x64" +
	"\x65\x72\x67\x72\x6f\x75\x6e\x64\x20\x55\x53\x00\x32\x38\x32\x33" +
	"\x34\x31\x00\x64\x61\x79\x7a\x00\x44\x61\x79\x5a\x00\x00\x00\x09" +
	"\x32\x00\x64\x77\x00\x01\x30\x2e\x36\x30\x2e\x31\x33\x33\x39\x31" +
	"\x33\x00\xb1\xc6\x09\x09\xf0\x2b\x11\x2b\x1e\x40\x01\x62\x61\x74" +
	"\x74\x6c\x65\x79\x65\x2c\x6e\x6f\x33\x72\x64\x2c\x70\x72\x69\x76" +
	"\x48\x69\x76\x65\x2c\x65\x74\x6d\x34\x2e\x30\x30\x30\x30\x30\x30" +
	"\x2c\x30\x32\x3a\x35\x35\x00\xac\x5f\x03\x00\x00\x00\x00\x00"

// a2sInfo is the question as developer.valvesoftware.com/wiki/Server_queries gives it.
const a2sInfo = "\xff\xff\xff\xff\x54\x53\x6f\x75\x72\x63\x65\x20\x45\x6e\x67\x69\x6e\x65\x20\x51\x75\x65\x72\x79\x00"

// A2S answers A2S_INFO at once, as servers did before December 2020 and many still do.
func A2S(question []byte) []byte {
	if string(question) != a2sInfo {
		return nil
	}
	return []byte(dayZ)
}

// A2SChallenged answers A2S_INFO only to who repeats its challenge; the one here is from a recording of a Space Engineers
// server.
func A2SChallenged(question []byte) []byte {
	switch string(question) {
	case a2sInfo:
		return []byte("\xff\xff\xff\xff\x41\x62\xde\x97\x76")
	case a2sInfo + "\x62\xde\x97\x76":
		return []byte(dayZ)
	default:
		return nil
	}
}

// Bedrock answers RakNet's unconnected ping as wiki.bedrock.dev/servers/raknet-and-mcpe has it, with its example's text.
func Bedrock(question []byte) []byte {
	const magic = "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"
	if len(question) != 33 || question[0] != 0x01 || string(question[9:25]) != magic {
		return nil
	}
	return slices.Concat(
		[]byte{0x1c}, question[1:9],
		[]byte{0xb7, 0xee, 0x5a, 0x7c, 0x6b, 0x32, 0x8e, 0x21}, // its id
		[]byte(magic),
		[]byte{0x00, 0x60},
		[]byte("MCPE;Dedicated Server;527;1.19.1;0;10;13253860892328930865;Bedrock level;Survival;1;19132;19133;"),
	)
}

// minecraftStatus is the example of wiki.vg/Server_List_Ping, without its icon.
const minecraftStatus = `{"version":{"name":"1.8.7","protocol":47},"players":{"max":100,"online":5,"sample":[` +
	`{"name":"thinkofdeath","id":"4566e69f-c907-48ee-8d71-d7ba5aa00d20"}]},"description":{"text":"Hello world"}}`

// Minecraft serves the server list ping of the Java edition: handshake, status, and a ping that comes back.
func Minecraft(conn net.Conn) {
	for answers := 0; answers < 3; {
		var size [1]byte // a status handshake and its successors are shorter than 128 bytes
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		packet := make([]byte, size[0])
		if _, err := io.ReadFull(conn, packet); err != nil {
			return
		}
		switch {
		case len(packet) == 1 && packet[0] == 0x00: // status request
			n := len(minecraftStatus)
			body := append([]byte{0x00, byte(n | 0x80), byte(n >> 7)}, minecraftStatus...)
			_, _ = conn.Write(append([]byte{byte(len(body) | 0x80), byte(len(body) >> 7)}, body...))
		case len(packet) == 9 && packet[0] == 0x01: // ping
			_, _ = conn.Write(append([]byte{9}, packet...))
			return
		case len(packet) > 1 && packet[0] == 0x00 && packet[len(packet)-1] == 0x01: // handshake that asks for the status
		default:
			return
		}
		answers++
	}
}
