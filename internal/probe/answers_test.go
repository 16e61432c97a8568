package probe

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
)

// minecraftAnswer is what the stand-in for a game says to a handshake and a status request.
func minecraftAnswer(t testing.TB) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go game.Minecraft(theirs)
	if _, err := ours.Write(append(handshake(Target{}), packet(minecraftHandshake, nil)...)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := ours.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// readers are the parsers with what they would be given, and how much of it is enough.
func readers(t testing.TB) map[string]struct {
	read   func([]byte) (api.GameInfo, error)
	answer []byte
	enough int
} {
	t.Helper()
	s, b := satisfactory{cookie: 77}, bedrock{time: 78, guid: 79}
	datagram := func(d dialect) func([]byte) (api.GameInfo, error) {
		return func(in []byte) (api.GameInfo, error) {
			info, _, err := d.read(in)
			return info, err
		}
	}
	poll, dayZ, pong, status := game.Satisfactory(s.question()), game.A2S((&a2s{}).question()), game.Bedrock(b.question()), minecraftAnswer(t)
	return map[string]struct {
		read   func([]byte) (api.GameInfo, error)
		answer []byte
		enough int
	}{
		"satisfactory": {datagram(s), poll, len(poll)},
		"a2s":          {datagram(&a2s{}), dayZ, bytes.Index(dayZ, []byte("133913\x00")) + 7}, // the version is the last that is read
		"bedrock":      {datagram(b), pong, len(pong)},
		"minecraft":    {readStatus, status, len(status)},
	}
}

func readStatus(in []byte) (api.GameInfo, error) {
	body, err := readPacket(bufio.NewReader(bytes.NewReader(in)), minecraftHandshake)
	if err != nil {
		return api.GameInfo{}, err
	}
	return parseStatus(body)
}

// TestCutAnswers cuts good answers at every place: none of the pieces is an answer.
func TestCutAnswers(t *testing.T) {
	t.Parallel()
	for name, r := range readers(t) {
		if _, err := r.read(r.answer); err != nil {
			t.Errorf("%s: the whole answer: %v", name, err)
		}
		for n := range r.enough {
			if info, err := r.read(r.answer[:n]); err == nil || info != (api.GameInfo{}) {
				t.Errorf("%s: %d of %d bytes pass as %+v", name, n, r.enough, info)
			}
		}
	}
}

// TestForeignAnswers gives what has the form of an answer and is none, or another's.
func TestForeignAnswers(t *testing.T) {
	t.Parallel()
	all := readers(t)
	edit := func(name string, at int, with ...byte) []byte {
		b := slices.Clone(all[name].answer)
		copy(b[at:], with)
		return b
	}
	status := func(json string) []byte {
		return packet(minecraftHandshake, append(varint(nil, int32(len(json))), json...))
	}
	for _, tc := range []struct {
		name, reader string
		answer       []byte
	}{
		{"nothing", "satisfactory", nil},
		{"another cookie", "satisfactory", edit("satisfactory", 4, 0xff)},
		{"another version", "satisfactory", edit("satisfactory", 3, 2)},
		{"a request", "satisfactory", edit("satisfactory", 2, 0)},
		{"no end", "satisfactory", edit("satisfactory", len(all["satisfactory"].answer)-1, 0)},
		{"more after the end", "satisfactory", append(slices.Clone(all["satisfactory"].answer), 0)},
		{"255 sub states", "satisfactory", edit("satisfactory", 25, 255)},
		{"a name of 65535 bytes", "satisfactory", edit("satisfactory", 38, 0xff, 0xff)},
		{"nothing", "a2s", nil},
		{"the header alone", "a2s", []byte(a2sWhole)},
		{"players", "a2s", []byte(a2sWhole + "D\x00")},
		{"a challenge of three bytes", "a2s", []byte(a2sWhole + "A123")},
		{"no zero bytes", "a2s", append([]byte(a2sWhole+"I\x11"), bytes.Repeat([]byte("x"), 1400)...)},
		{"nothing", "bedrock", nil},
		{"another time", "bedrock", edit("bedrock", 8, 0xff)},
		{"another magic", "bedrock", edit("bedrock", 17, 0xff)},
		{"a text of 65535 bytes", "bedrock", edit("bedrock", 33, 0xff, 0xff)},
		{"another game", "bedrock", edit("bedrock", 35, 'X')},
		{"no fields", "bedrock", edit("bedrock", 33, 0, 4)},
		{"nothing", "minecraft", nil},
		{"an empty packet", "minecraft", []byte{0}},
		{"another packet", "minecraft", packet(2, []byte("\x02{}"))},
		{"a wrong length", "minecraft", packet(0, []byte("\x07{}"))},
		{"a negative length", "minecraft", packet(0, append(varint(nil, -1), '{', '}'))},
		{"no fields", "minecraft", status(`{}`)},
		{"no object", "minecraft", status(`[]`)},
		{"no JSON", "minecraft", status(`{"version":`)},
		{"players that are text", "minecraft", status(`{"version":{"name":"1"},"players":{"max":"many"}}`)},
	} {
		if info, err := all[tc.reader].read(tc.answer); err == nil || info != (api.GameInfo{}) {
			t.Errorf("%s to %s pass: %+v %v", tc.name, tc.reader, info, err)
		}
	}
}

// TestHostileText checks that a game's text cannot reach further than a game's text should.
func TestHostileText(t *testing.T) {
	t.Parallel()
	status := func(description string) []byte {
		json := `{"version":{"name":"1.21"},"players":{"max":-1,"online":20},"description":` + description + `}`
		return packet(minecraftHandshake, append(varint(nil, int32(len(json))), json...))
	}
	nested := strings.Repeat(`{"text":"x","extra":[`, 3000) + `"deep"` + strings.Repeat(`]}`, 3000)
	for in, want := range map[string]string{
		`"plain"`:   "plain",
		`"§aG§lo§"`: "Go",
		`{"text":"one ","extra":[{"text":"two "},"three"]}`: "one two three",
		`{"translate":"multiplayer.status"}`:                "",
		`"\u001b[2J\u202egnp.exe\u0000\n"`:                  "[2Jgnp.exe",
		`"` + strings.Repeat("é", 40000) + `"`:              strings.Repeat("é", maxText),
		nested:                                              "xxxx",
		`{"text":7}`:                                        "",
		`"` + "\xff\xfe" + `"`:                              "\ufffd\ufffd",
		`{"text":"","extra":["` + strings.Repeat("a", 200) + `"` + strings.Repeat(`,"b"`, 9000) + `]}`: strings.Repeat("a", maxText),
	} {
		info, err := readStatus(status(in))
		if err != nil || info.Name != want || info.MaxPlayers != nil || info.Players == nil || *info.Players != 20 {
			t.Errorf("%.60s: %+v %v", in, info, err)
		}
	}
}

// mustBeFit fails for text that is not fit to be shown.
func mustBeFit(t *testing.T, info api.GameInfo) {
	t.Helper()
	for _, text := range []string{info.Name, info.Game, info.Version, info.Map, info.State} {
		if len([]rune(text)) > maxText || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) }) {
			t.Errorf("unfit text: %q", text)
		}
	}
	for _, n := range []*int{info.Players, info.MaxPlayers} {
		if n != nil && *n < 0 {
			t.Errorf("%d players", *n)
		}
	}
}

func fuzz(f *testing.F, name string) {
	f.Helper()
	r := readers(f)[name]
	for n := 0; n <= len(r.answer); n += 7 {
		f.Add(r.answer[:n])
	}
	f.Add(r.answer)
	f.Fuzz(func(t *testing.T, in []byte) {
		if info, err := r.read(in); err == nil {
			mustBeFit(t, info)
		} else if info != (api.GameInfo{}) {
			t.Errorf("%v, and yet %+v", err, info)
		}
	})
}

func FuzzSatisfactory(f *testing.F) {
	f.Add(binary.LittleEndian.AppendUint16(nil, satisfactoryMagic))
	fuzz(f, "satisfactory")
}

func FuzzA2S(f *testing.F) {
	f.Add([]byte(a2sSplit))
	f.Add([]byte(a2sWhole + "A1234"))
	fuzz(f, "a2s")
}

func FuzzBedrock(f *testing.F) {
	f.Add([]byte{raknetPong})
	fuzz(f, "bedrock")
}

func FuzzMinecraft(f *testing.F) {
	f.Add([]byte("\xff\xff\xff\xff\x0f"))
	f.Add([]byte("\x04\x00\x02{}"))
	fuzz(f, "minecraft")
}
