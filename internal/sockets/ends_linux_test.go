package sockets

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// TestEnds closes a socket of each kind, and is told of each by its addresses.
func TestEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	news, done := make(chan Socket, 1000), make(chan error, 1)
	go func() {
		done <- Ends(ctx, func(ended []Socket, missed bool) {
			if missed {
				t.Error("the kernel could not keep all")
			}
			for _, s := range ended {
				select {
				case news <- s:
				default:
				}
			}
		})
	}()
	awaitEnds(t, news)

	udp := listenUDP(t, "udp", "[::]:0")
	want := Socket{Protocol: api.UDP, State: Close, Local: addrPort(udp.LocalAddr())}
	_ = udp.Close()
	mustEnd(t, news, want)

	game := listenUDP(t, "udp4", "127.0.0.1:0")
	player, err := net.Dial("udp4", game.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	want = Socket{Protocol: api.UDP, State: Established, Local: addrPort(player.LocalAddr()), Remote: addrPort(game.LocalAddr())}
	_ = player.Close()
	mustEnd(t, news, want)

	l := listenTCP(t, "tcp4", "127.0.0.1:0")
	want = Socket{Protocol: api.TCP, State: Close, Local: addrPort(l.Addr())}
	dialled, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dialled.Write(make([]byte, 69)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(accepted, make([]byte, 69)); err != nil {
		t.Fatal(err)
	}
	_ = dialled.Close()
	_ = accepted.Close()
	of := mustEnd(t, news, Socket{Protocol: api.TCP, State: Close, Local: addrPort(l.Addr()), Remote: addrPort(dialled.LocalAddr())})
	if of.BytesReceived < 69 || of.BytesReceived > 70 { // with the peer's FIN or without
		t.Errorf("it has received %d bytes, want 69", of.BytesReceived)
	}
	_ = l.Close()
	mustEnd(t, news, want)

	over := errors.New("over")
	cancel(over)
	if err := <-done; !errors.Is(err, over) {
		t.Errorf("it ended with %v, want %v", err, over)
	}
}

// awaitEnds waits until news come, by closing sockets until one is told of.
func awaitEnds(t *testing.T, news <-chan Socket) {
	t.Helper()
	for range 1000 {
		_ = listenUDP(t, "udp4", "127.0.0.1:0").Close()
		select {
		case <-news:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatal("nothing is told of sockets that end")
}

func mustEnd(t *testing.T, news <-chan Socket, want Socket) Socket {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case s := <-news:
			if s.Protocol == want.Protocol && s.State == want.State && s.Local.Port() == want.Local.Port() && s.Remote.Port() == want.Remote.Port() {
				return s
			}
		case <-limit:
			t.Fatalf("the end of %+v is not told", want)
		}
	}
}

// TestEndReaderRefusesWhatItCannotRead feeds the reader broken news.
func TestEndReaderRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	for name, body := range map[string][]byte{"short": make([]byte, 20), "family": make([]byte, messageSize)} {
		if _, err := parseEnd(body); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v, want errMalformed", name, err)
		}
	}
	for _, attributes := range [][]byte{{}, {4, 0, 10, 0}, {0, 0, 0, 0, 0, 0, 0, 0}, {5, 0, 2, 0, 1}} {
		if p := protocolOf(attributes); p != 0 {
			t.Errorf("%v names protocol %d", attributes, p)
		}
	}
}
