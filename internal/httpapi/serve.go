package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// The server's limits. A long poll (wait=) sets its own write deadline.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeader         = 16 << 10        // bytes
	stopTimeout       = 6 * time.Second // with what follows, below the 10 s that Docker gives
)

// Listener is where and how a service listens.
type Listener struct {
	Address  string // host:port; an empty host is every address
	CertFile string // PEM files: HTTPS if both are set
	KeyFile  string
	// PlainHTTP allows plain HTTP on an address that is not loopback.
	PlainHTTP bool
}

// Open listens. It refuses to show the token to a network in clear unless that was asked for.
func (l Listener) Open(ctx context.Context) (net.Listener, error) {
	if (l.CertFile == "") != (l.KeyFile == "") {
		return nil, errors.New("a TLS certificate and its key go together: set both or none")
	}
	if l.CertFile == "" && !l.PlainHTTP && !IsLoopback(l.Address) {
		return nil, fmt.Errorf("listening on %s without TLS would send the API token in clear: set a TLS certificate and key, "+
			"listen on a loopback address behind a proxy or a VPN, or allow it with --plain-http", l.Address)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", l.Address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", l.Address, err)
	}
	if l.CertFile == "" {
		return ln, nil
	}
	cert, err := tls.LoadX509KeyPair(l.CertFile, l.KeyFile)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("load the TLS certificate: %w", err), ln.Close())
	}
	return tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}), nil
}

// IsLoopback tells whether host:port can be reached from this machine only.
func IsLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Serve answers on ln until ctx ends, then lets running requests finish for up to 6 s. A handler with a method Drain is told
// when that begins.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, log *slog.Logger) error {
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // scanners' broken requests
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	if d, ok := h.(interface{ Drain() }); ok {
		srv.RegisterOnShutdown(d.Drain)
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer done()
	cancelLate := context.AfterFunc(stop, cancel)
	defer cancelLate()
	err := srv.Shutdown(stop)
	if err != nil {
		err = errors.Join(fmt.Errorf("stop serving: %w", err), srv.Close())
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
