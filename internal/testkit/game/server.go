// Package game is both ends of what a tunnel is for: a stand-in for a game server, and players.
package game

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

// Server is a stand-in for a game server: it echoes TCP lines and UDP datagrams on each of its ports, and answers "status"
// with its name, so that a player can tell which game it has reached.
type Server struct {
	Name string
	Host netip.Addr

	mu      sync.Mutex
	closers []io.Closer
	wg      sync.WaitGroup
}

// Start opens ports on an address, TCP and UDP each. On an error nothing is left open.
func Start(name string, host netip.Addr, ports ...int) (*Server, error) {
	s := &Server{Name: name, Host: host}
	for _, port := range ports {
		if err := s.Listen(port); err != nil {
			s.Stop()
			return nil, err
		}
	}
	return s, nil
}

// Listen opens one more port, TCP and UDP.
func (s *Server) Listen(port int) error {
	addr := netip.AddrPortFrom(s.Host, uint16(port))
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return errors.Join(err, tcp.Close())
	}
	s.own(tcp)
	s.own(udp)
	s.wg.Go(func() { s.accept(tcp) })
	s.wg.Go(func() { s.echo(udp) })
	return nil
}

// Stop closes every port and every connection, and waits until nothing of the game runs.
func (s *Server) Stop() {
	s.mu.Lock()
	for _, c := range s.closers {
		_ = c.Close()
	}
	s.closers = nil
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *Server) own(c io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closers = append(s.closers, c)
}

func (s *Server) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		s.own(conn)
		s.wg.Go(func() {
			defer func() { _ = conn.Close() }()
			lines := bufio.NewScanner(conn)
			for lines.Scan() {
				if _, err := fmt.Fprintln(conn, s.reply(lines.Text())); err != nil {
					return
				}
			}
		})
	}
}

func (s *Server) echo(conn *net.UDPConn) {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = conn.WriteToUDPAddrPort([]byte(s.reply(string(buf[:n]))), from)
		}
	}
}

func (s *Server) reply(message string) string {
	if message == "status" {
		return s.Name
	}
	return message
}
