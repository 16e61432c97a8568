package game

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
)

// Responder is a stand-in for a game on one port, which answers as it is told to.
type Responder struct {
	Address netip.AddrPort // with the port that the kernel chose, if none was asked for

	mu      sync.Mutex
	closers []io.Closer
	wg      sync.WaitGroup
}

// RespondUDP has answer write the answer to each datagram; nil is silence.
func RespondUDP(at netip.AddrPort, answer func(question []byte) []byte) (*Responder, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	r := &Responder{Address: conn.LocalAddr().(*net.UDPAddr).AddrPort(), closers: []io.Closer{conn}}
	r.wg.Go(func() {
		buf := make([]byte, maxDatagram)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if a := answer(buf[:n]); err == nil && a != nil {
				_, _ = conn.WriteToUDPAddrPort(a, from)
			}
		}
	})
	return r, nil
}

// RespondTCP has serve serve each connection, which is closed when it returns.
func RespondTCP(at netip.AddrPort, serve func(net.Conn)) (*Responder, error) {
	ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	r := &Responder{Address: ln.Addr().(*net.TCPAddr).AddrPort(), closers: []io.Closer{ln}}
	r.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.closers = append(r.closers, conn)
			r.mu.Unlock()
			r.wg.Go(func() {
				defer func() { _ = conn.Close() }()
				serve(conn)
			})
		}
	})
	return r, nil
}

// Stop closes the port and every connection, and waits until nothing of the game runs.
func (r *Responder) Stop() {
	r.mu.Lock()
	for _, c := range r.closers {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}
