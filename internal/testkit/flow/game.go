package flow

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
)

// maxDatagram is the longest datagram that is echoed whole, in bytes; rathole cuts longer ones.
const maxDatagram = 2048

// Game is the far end of flows: it echoes TCP lines and UDP datagrams, and adds the address that it sees the message come
// from. A game takes a peer of another address for another player.
type Game struct {
	wg sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	closers map[io.Closer]struct{}
}

// StartGame opens a port, TCP and UDP, on an address.
func StartGame(host netip.Addr, port int) (*Game, error) {
	addr := netip.AddrPortFrom(host, uint16(port))
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	g := &Game{closers: map[io.Closer]struct{}{tcp: {}, udp: {}}}
	g.wg.Go(func() { g.accept(tcp) })
	g.wg.Go(func() { g.echo(udp) })
	return g, nil
}

// Stop closes the port and every connection, and waits until nothing of the game runs.
func (g *Game) Stop() {
	g.mu.Lock()
	g.stopped = true
	for c := range g.closers {
		_ = c.Close()
	}
	g.mu.Unlock()
	g.wg.Wait()
}

// own makes Stop close c; false if it is too late for that.
func (g *Game) own(c io.Closer) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.stopped {
		g.closers[c] = struct{}{}
	}
	return !g.stopped
}

func (g *Game) disown(c io.Closer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.closers, c)
}

func (g *Game) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		if !g.own(conn) {
			_ = conn.Close()
			return
		}
		g.wg.Go(func() {
			defer g.disown(conn)
			defer conn.Close()
			lines := bufio.NewScanner(conn)
			for lines.Scan() {
				if _, err := fmt.Fprintf(conn, "%s %s\n", lines.Text(), conn.RemoteAddr()); err != nil {
					return
				}
			}
		})
	}
}

func (g *Game) echo(conn *net.UDPConn) {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = conn.WriteToUDPAddrPort(fmt.Appendf(nil, "%s %s", buf[:n], from), from)
		}
	}
}
