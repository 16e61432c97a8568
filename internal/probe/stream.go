package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// grace is how long a connection must live to count as accepted by a game. rathole's server accepts everybody; with no game
// behind it, it hangs up once its client has failed to connect, one round trip to the host later.
const grace = 500 * time.Millisecond

// dial connects, and has the connection end with ctx.
func (t Target) dial(ctx context.Context) (conn net.Conn, release func(), err error) {
	var dialer net.Dialer
	conn, err = dialer.DialContext(ctx, "tcp", t.Address.String())
	if err != nil {
		return nil, nil, t.dialFailed(err)
	}
	if conn.LocalAddr().String() == t.Address.String() {
		_ = conn.Close()
		return nil, nil, t.portClosed() // nobody listens, and by chance we connected to ourselves
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { stop(); _ = conn.Close() }, nil
}

// connect is the probe of kind tcp: a connection is made, and nobody hangs up within the grace. That proves that the
// instance's server and its client are connected and that something accepts where the client forwards to, as far as this
// shows within the grace: not that it is the game, nor that it serves players. A host that drops packets instead of refusing
// them, or that is further away than the grace, is not noticed.
func (t Target) connect(ctx context.Context, r *Result) error {
	begin := time.Now()
	conn, release, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer release()
	r.RTT = time.Since(begin)
	if err := conn.SetReadDeadline(time.Now().Add(grace)); err != nil {
		return t.dialFailed(err)
	}
	n, err := conn.Read(make([]byte, 1))
	switch {
	case n > 0:
		return nil // a game that speaks first
	case ctx.Err() != nil:
		return t.dialFailed(ctx.Err())
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	default:
		return t.closedAtOnce()
	}
}

// cut explains an error of reading an answer of which some bytes were there already, or none.
func (t Target) cut(err error, some bool) *Failure {
	switch {
	case some:
		return t.badAnswer(errShort)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return t.noAnswer()
	default: // io.EOF, a reset
		return t.closedAtOnce()
	}
}

// counted counts what is read, to tell a short answer from none.
type counted struct {
	io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}
