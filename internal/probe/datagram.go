package probe

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

const (
	// repeatAfter is when a question counts as lost. Repeating it sooner would send two datagrams back to back, and those of
	// a new player to a game that is away leave rathole's client a dead entry for ever.
	repeatAfter = time.Second
	// maxDatagram is the longest datagram that rathole carries, in bytes.
	maxDatagram = 2048
	// maxStrays bounds how many datagrams that are no answer are read for one question, and maxTurns how often an answer may
	// ask for another question.
	maxStrays = 16
	maxTurns  = 3
)

// dialect is a query protocol over UDP.
type dialect interface {
	// question is the datagram to send.
	question() []byte
	// read takes one datagram: the answer, or an error if it is none. again says that it was a demand to put the question
	// anew, which is another one from now on.
	read(datagram []byte) (info api.GameInfo, again bool, err error)
}

// exchange asks until there is an answer or ctx ends. What is no answer does not end it at once, for a stray datagram must
// not decide; but neither is it worth another question.
func (t Target) exchange(ctx context.Context, d dialect, r *Result) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "udp", t.Address.String())
	if err != nil {
		return t.dialFailed(err)
	}
	defer conn.Close()
	if conn.LocalAddr().String() == t.Address.String() {
		return t.portClosed() // the kernel gave us the very port, since nobody has it: we would talk to ourselves
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	asked := time.Now()
	for turns := 0; ; {
		info, again, err := t.ask(ctx, conn, d)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
			continue // lost on the way there or back
		case errors.Is(err, os.ErrDeadlineExceeded):
			return t.noAnswer()
		case errors.As(err, new(*net.OpError)):
			return t.dialFailed(err)
		case err != nil:
			return t.badAnswer(err)
		case !again:
			r.RTT, r.Game = time.Since(asked), info
			return nil
		}
		if turns++; turns > maxTurns {
			return t.badAnswer(errors.New("it demands one challenge after another"))
		}
		asked = time.Now()
	}
}

// ask puts the question once and reads what comes until repeatAfter. The error is os.ErrDeadlineExceeded if nothing came.
func (t Target) ask(ctx context.Context, conn net.Conn, d dialect) (info api.GameInfo, again bool, err error) {
	if err := conn.SetDeadline(time.Now().Add(repeatAfter)); err != nil {
		return info, false, err
	}
	if ctx.Err() != nil { // asked only now, so that the end of ctx finds the deadline set and moves it
		return info, false, os.ErrDeadlineExceeded
	}
	if _, err := conn.Write(d.question()); err != nil {
		return info, false, err
	}
	buf := make([]byte, maxDatagram)
	var stray error
	for range maxStrays {
		n, err := conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) && stray != nil {
			return info, false, stray
		}
		if err != nil {
			return info, false, err
		}
		info, again, stray = d.read(buf[:n])
		if stray == nil {
			return info, again, nil
		}
	}
	return info, false, stray
}
