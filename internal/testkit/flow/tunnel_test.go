package flow_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// fault is what a tunnel does to an answer.
type fault int

const (
	none fault = iota
	drop
	twice
	swap   // with the next one
	damage // one byte
	cut    // the connection
	move   // the next message reaches the game from another address
)

// tunnel forwards one TCP connection or one UDP peer to a game, and does one thing wrong at its fifth answer.
type tunnel struct {
	address string
	game    string
	wrong   fault
	passed  atomic.Int32 // answers
	mute    atomic.Bool  // answers are dropped

	mu      sync.Mutex
	closers []io.Closer
	wg      sync.WaitGroup
}

func startTunnel(t *testing.T, network, game string, wrong fault) *tunnel {
	t.Helper()
	p := &tunnel{game: game, wrong: wrong}
	t.Cleanup(p.stop)
	if network == "tcp" {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p.own(ln)
		p.address = ln.Addr().String()
		p.wg.Go(func() { p.accept(ln) })
		return p
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	p.own(conn)
	p.address = conn.LocalAddr().String()
	p.wg.Go(func() { p.forward(conn) })
	return p
}

func (p *tunnel) own(c io.Closer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closers = append(p.closers, c)
}

func (p *tunnel) stop() {
	p.mu.Lock()
	for _, c := range p.closers {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// now tells whether the present answer is the one to spoil.
func (p *tunnel) now() fault {
	if p.passed.Add(1) == 5 {
		return p.wrong
	}
	return none
}

// spoil passes an answer on, or what the fault makes of it, and returns what is held back until the next one.
func (p *tunnel) spoil(answer, held string, write func(string)) (hold string) {
	switch p.now() {
	case drop:
		return held
	case twice:
		write(answer)
	case swap:
		return answer
	case damage:
		answer = "x" + answer[1:]
	case none, cut, move:
	}
	write(answer)
	if held != "" {
		write(held)
	}
	return ""
}

func (p *tunnel) accept(ln net.Listener) {
	for {
		player, err := ln.Accept()
		if err != nil {
			return
		}
		game, err := net.Dial("tcp", p.game)
		if err != nil {
			return
		}
		p.own(player)
		p.own(game)
		p.wg.Go(func() { _, _ = io.Copy(game, player) })
		p.wg.Go(func() {
			held := ""
			lines := bufio.NewScanner(game)
			for lines.Scan() {
				if p.wrong == cut && p.passed.Load() == 4 {
					p.passed.Add(1)
					_ = player.Close()
					return
				}
				held = p.spoil(lines.Text()+"\n", held, func(s string) { _, _ = player.Write([]byte(s)) })
			}
		})
	}
}

func (p *tunnel) forward(conn *net.UDPConn) {
	var game net.Conn
	buf := make([]byte, 2048)
	for n := 1; ; n++ {
		size, player, err := conn.ReadFromUDP(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if p.wrong == cut && n == 5 {
			p.passed.Store(5)
			_ = conn.Close()
			return
		}
		if game == nil || p.wrong == move && n == 5 {
			if game, err = net.Dial("udp", p.game); err != nil {
				return
			}
			p.own(game)
			from := game
			p.wg.Go(func() { p.backward(from, conn, player) })
		}
		_, _ = game.Write(buf[:size])
	}
}

func (p *tunnel) backward(game net.Conn, conn *net.UDPConn, player *net.UDPAddr) {
	held := ""
	buf := make([]byte, 2048)
	for {
		n, err := game.Read(buf)
		if err != nil {
			return
		}
		if p.mute.Load() {
			continue
		}
		held = p.spoil(string(buf[:n]), held, func(s string) { _, _ = conn.WriteToUDP([]byte(s), player) })
	}
}
