package game

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// askTimeout bounds one question to a game.
const askTimeout = 2 * time.Second

// Ask sends one message to address as a new player, and returns the answer.
func Ask(ctx context.Context, protocol api.Protocol, address, message string) (string, error) {
	p, err := Join(ctx, protocol, address)
	if err != nil {
		return "", err
	}
	defer func() { _ = p.Leave() }()
	return p.Ask(message)
}

// Player is one flow to a game: a TCP connection, or a UDP socket with a port of its own.
type Player struct {
	conn  net.Conn
	lines *bufio.Reader
	udp   bool
}

// Join connects a player.
func Join(ctx context.Context, protocol api.Protocol, address string) (*Player, error) {
	d := net.Dialer{Timeout: askTimeout}
	conn, err := d.DialContext(ctx, string(protocol), address)
	if err != nil {
		return nil, err
	}
	return &Player{conn: conn, lines: bufio.NewReader(conn), udp: protocol == api.UDP}, nil
}

// Ask sends a message over the flow and returns the answer.
func (p *Player) Ask(message string) (string, error) {
	if err := p.conn.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return "", err
	}
	if p.udp {
		return p.askUDP(message)
	}
	if _, err := fmt.Fprintln(p.conn, message); err != nil {
		return "", err
	}
	line, err := p.lines.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

func (p *Player) askUDP(message string) (string, error) {
	if _, err := p.conn.Write([]byte(message)); err != nil {
		return "", err
	}
	buf := make([]byte, maxDatagram)
	n, err := p.conn.Read(buf)
	return string(buf[:n]), err
}

// Leave ends the flow.
func (p *Player) Leave() error { return p.conn.Close() }

// Say sends text as it is over the flow, and waits for no answer.
func (p *Player) Say(text string) error {
	_, err := p.conn.Write([]byte(text))
	return err
}
