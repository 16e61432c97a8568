package probe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// The server list ping of Minecraft's Java edition since 1.7 (wiki.vg/Server_List_Ping): packets of a length, a number and
// fields; lengths and numbers are varints of seven bits a byte.
const (
	minecraftHandshake = 0 // and status request, and status response
	minecraftPing      = 1
	minecraftStatus    = 1 // the state that the handshake asks for
	// maxPacket bounds a status in bytes: 32,767 characters of JSON, most of them the icon in base64; a few bytes each at most.
	maxPacket = 128 << 10
)

// minecraft asks for the status and then pings. Who answers the first and not the second, as some proxies do, is up as well.
func (t Target) minecraft(ctx context.Context, r *Result) error {
	conn, release, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer release()
	in := &counted{Reader: conn}
	lines := bufio.NewReader(in)
	asked := time.Now()
	// What cannot be written shows when it is read: a peer that has hung up.
	_, _ = conn.Write(append(handshake(t), packet(minecraftHandshake, nil)...))
	body, err := readPacket(lines, minecraftHandshake)
	if err == nil {
		r.RTT = time.Since(asked)
		r.Game, err = parseStatus(body)
	}
	switch {
	case errors.As(err, new(*foreignError)):
		return t.badAnswer(err)
	case err != nil:
		return t.cut(err, in.n > 0)
	}
	if rtt, ok := ping(ctx, conn, lines); ok {
		r.RTT = rtt
	}
	return nil
}

// ping measures the round trip; no good answer within a second is none.
func ping(ctx context.Context, conn net.Conn, in *bufio.Reader) (time.Duration, bool) {
	if conn.SetDeadline(time.Now().Add(time.Second)) != nil || ctx.Err() != nil {
		return 0, false
	}
	payload := binary.BigEndian.AppendUint64(nil, rand.Uint64())
	asked := time.Now()
	if _, err := conn.Write(packet(minecraftPing, payload)); err != nil {
		return 0, false
	}
	back, err := readPacket(in, minecraftPing)
	return time.Since(asked), err == nil && bytes.Equal(back, payload)
}

// handshake opens the state status. Version -1 is the convention of those who only ask.
func handshake(t Target) []byte {
	host := t.Address.Addr().String()
	body := varint(nil, -1)
	body = append(varint(body, int32(len(host))), host...)
	body = binary.BigEndian.AppendUint16(body, t.Address.Port())
	return packet(minecraftHandshake, varint(body, minecraftStatus))
}

func packet(number int32, body []byte) []byte {
	body = append(varint(nil, number), body...)
	return append(varint(nil, int32(len(body))), body...)
}

// varint appends a number, the low seven bits first; a negative one takes five bytes.
func varint(to []byte, n int32) []byte { return binary.AppendUvarint(to, uint64(uint32(n))) }

// foreignError is an answer of something else.
type foreignError struct{ why string }

func (e *foreignError) Error() string { return e.why }

// readPacket reads one packet and returns its fields. An error of reading comes as it is, a packet that is none as a
// *foreignError.
func readPacket(in *bufio.Reader, number int32) ([]byte, error) {
	size, err := readVarint(in)
	if err != nil {
		return nil, err
	}
	if size < 1 || size > maxPacket {
		return nil, &foreignError{fmt.Sprintf("a packet of %d bytes", size)}
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(in, body); err != nil {
		return nil, err
	}
	rest := bytes.NewReader(body)
	got, err := readVarint(rest)
	if err != nil || got != number {
		return nil, &foreignError{"a packet of another number"}
	}
	return body[len(body)-rest.Len():], nil
}

// readVarint reads a number of up to five bytes.
func readVarint(in io.ByteReader) (int32, error) {
	var n uint32
	for shift := 0; shift < 35; shift += 7 {
		b, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		n |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return int32(n), nil
		}
	}
	return 0, &foreignError{"a number without end"}
}

// parseStatus reads the status: one text of JSON.
func parseStatus(body []byte) (api.GameInfo, error) {
	rest := bytes.NewReader(body)
	size, err := readVarint(rest)
	if err != nil || int(size) != rest.Len() {
		return api.GameInfo{}, &foreignError{"a status whose length is wrong"}
	}
	var status struct {
		Version struct {
			Name string `json:"name"`
		} `json:"version"`
		Players *struct {
			Max    int `json:"max"`
			Online int `json:"online"`
		} `json:"players"`
		Description json.RawMessage `json:"description"`
	}
	if err := json.Unmarshal(body[len(body)-rest.Len():], &status); err != nil {
		return api.GameInfo{}, &foreignError{"a status that is not JSON of its form"}
	}
	if status.Version.Name == "" && status.Players == nil {
		return api.GameInfo{}, &foreignError{"a status without version and players"}
	}
	info := api.GameInfo{Game: "Minecraft", Version: clean(status.Version.Name), Name: clean(uncoloured(describe(status.Description, maxNested)))}
	if p := status.Players; p != nil {
		info.Players, info.MaxPlayers = count(p.Online), count(p.Max)
	}
	return info, nil
}

// maxNested bounds how deep the parts of a description are read; each level is parsed again.
const maxNested = 4

// describe is the text of a description: a string, or an object with a text and extra parts. Other forms, such as
// translations, have none that could be shown.
func describe(raw json.RawMessage, levels int) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var chat struct {
		Text  string            `json:"text"`
		Extra []json.RawMessage `json:"extra"`
	}
	if levels == 0 || json.Unmarshal(raw, &chat) != nil {
		return ""
	}
	text = chat.Text
	for _, part := range chat.Extra {
		if len(text) >= maxText {
			break
		}
		text += describe(part, levels-1)
	}
	return text
}
