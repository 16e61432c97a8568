package testkit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
)

// Game is a stand-in for a game server: it echoes TCP lines and UDP datagrams on each of its ports, and answers "status"
// with its name, so that a test can tell which game it has reached.
type Game struct {
	Name string
	Host netip.Addr

	mu      sync.Mutex
	closers []io.Closer
	wg      sync.WaitGroup
}

// StartGame starts a game on an address of its own, on the given ports.
func StartGame(t testing.TB, name string, ports ...int) *Game {
	t.Helper()
	g := &Game{Name: name, Host: Address(t)}
	for _, port := range ports {
		if err := g.Listen(port); err != nil {
			t.Fatalf("start the game %s: %v", name, err)
		}
	}
	t.Cleanup(g.Stop)
	return g
}

// Listen opens one more port, TCP and UDP.
func (g *Game) Listen(port int) error {
	addr := netip.AddrPortFrom(g.Host, uint16(port))
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return errors.Join(err, tcp.Close())
	}
	g.own(tcp)
	g.own(udp)
	g.wg.Go(func() { g.accept(tcp) })
	g.wg.Go(func() { g.echo(udp) })
	return nil
}

// Stop closes every port and every connection, and waits until nothing of the game runs.
func (g *Game) Stop() {
	g.mu.Lock()
	for _, c := range g.closers {
		_ = c.Close()
	}
	g.closers = nil
	g.mu.Unlock()
	g.wg.Wait()
}

func (g *Game) own(c io.Closer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closers = append(g.closers, c)
}

func (g *Game) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		g.own(conn)
		g.wg.Go(func() {
			defer func() { _ = conn.Close() }()
			lines := bufio.NewScanner(conn)
			for lines.Scan() {
				if _, err := fmt.Fprintln(conn, g.reply(lines.Text())); err != nil {
					return
				}
			}
		})
	}
}

func (g *Game) echo(conn *net.UDPConn) {
	buf := make([]byte, 2048) // rathole cuts longer datagrams
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = conn.WriteToUDPAddrPort([]byte(g.reply(string(buf[:n]))), from)
		}
	}
}

func (g *Game) reply(message string) string {
	if message == "status" {
		return g.Name
	}
	return message
}
