package provider

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// errKilled is what a provider that was killed would get, if it could ask any more.
var errKilled = errors.New("this provider was killed")

// pipes is a network in memory, so that a fake on it lives in the virtual time of a synctest bubble.
type pipes struct {
	listeners map[string]*pipeListener // by host:port
}

type pipeListener struct {
	addr   string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) listen(addr string) *pipeListener {
	l := &pipeListener{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
	p.listeners[addr] = l
	return l
}

func (p *pipes) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	l, ok := p.listeners[addr]
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: errors.New("no such host")}
	}
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *pipeListener) Addr() net.Addr { return l }

// Network implements net.Addr.
func (l *pipeListener) Network() string { return "pipe" }

func (l *pipeListener) String() string { return l.addr }

// lifeline is the HTTP transport of one provider process: it ends when the process is killed.
type lifeline struct {
	http.RoundTripper
	fake *fake
	left atomic.Int64 // how many calls the process lives for
	end  func()       // of the process
}

// RoundTrip implements http.RoundTripper.
func (l *lifeline) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.left.Add(-1) < 0 {
		l.end()
		return nil, errKilled
	}
	for _, s := range l.fake.services() {
		if s.URL != "http://"+r.URL.Host {
			continue
		}
		if err := s.dialed(r); err != nil {
			return nil, err
		}
	}
	return l.RoundTripper.RoundTrip(r)
}

// newPipedFake makes a fake on a network in memory, and a maker of providers' transports to it. It must be called in a bubble.
func newPipedFake(t *testing.T) (*fake, func(lives int64, end func()) *lifeline) {
	t.Helper()
	f, network := makeFake(), &pipes{listeners: map[string]*pipeListener{}}
	for name, s := range map[string]*fakeService{"vps.test:7001": f.manager, "host.test:8081": f.agent.fakeService, "host2.test:8081": f.second.fakeService} {
		s.servePipe(t, network.listen(name))
	}
	return f, func(lives int64, end func()) *lifeline {
		inner := &http.Transport{DialContext: network.dial, MaxIdleConnsPerHost: 8}
		t.Cleanup(inner.CloseIdleConnections)
		l := &lifeline{RoundTripper: inner, fake: f, end: end}
		l.left.Store(lives)
		return l
	}
}
