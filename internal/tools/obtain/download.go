package obtain

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// How long a network may be silent. Where downloads are forbidden the next way must be reached within seconds, so that
// nothing is tried twice.
const (
	dialPatience = 3 * time.Second  // name, connection; TLS once more
	bytePatience = 10 * time.Second // until the answer begins, and between any two of its bytes
)

// newHTTPClient gives a client that follows the environment's proxy, never retries, gives up on silence, and reports
// the bytes it has read of a body and of how many (-1: unknown).
func newHTTPClient(patience time.Duration, report func(read, total int64)) *http.Client {
	return &http.Client{Transport: &impatient{
		patience: patience,
		report:   report,
		base: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: dialPatience}).DialContext,
			TLSHandshakeTimeout: dialPatience,
			ForceAttemptHTTP2:   true,
			DisableKeepAlives:   true, // a download or two, then never again
		},
	}}
}

// impatient ends a request when nothing arrives for a while. A limit on the whole request would cut off slow lines.
type impatient struct {
	base     http.RoundTripper
	patience time.Duration
	report   func(read, total int64)
}

// RoundTrip implements http.RoundTripper.
func (t *impatient) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	silent := fmt.Errorf("%s sent nothing for %s", req.URL.Host, t.patience)
	timer := time.AfterFunc(t.patience, func() { cancel(silent) })
	resp, err := t.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		timer.Stop()
		cause := context.Cause(ctx)
		cancel(nil)
		if cause != nil {
			return nil, cause
		}
		return nil, err
	}
	resp.Body = &impatientBody{ReadCloser: resp.Body, transport: t, ctx: ctx, cancel: cancel, timer: timer, total: resp.ContentLength}
	return resp, nil
}

type impatientBody struct {
	io.ReadCloser
	transport   *impatient
	ctx         context.Context
	cancel      context.CancelCauseFunc
	timer       *time.Timer
	read, total int64
}

// Read tells silence from other errors, which the transport reports as a mere cancellation.
func (b *impatientBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if cause := context.Cause(b.ctx); cause != nil && err != nil {
		return n, cause
	}
	b.timer.Reset(b.transport.patience)
	b.read += int64(n)
	b.transport.report(b.read, b.total)
	return n, err
}

// Close ends the watch as well.
func (b *impatientBody) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}

// download reads the whole answer of a GET, at most limit bytes.
func download(ctx context.Context, client *http.Client, url string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err // names method and URL
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %s", url, resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("get %s: broken off after %d bytes: %w", url, len(data), err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("get %s: more than %d bytes", url, limit)
	}
	return data, nil
}

// transferred writes an amount for a progress line.
func transferred(read, total int64) string {
	if total <= 0 {
		return fmt.Sprintf("%.1f MB", float64(read)/1e6)
	}
	return fmt.Sprintf("%.1f of %.1f MB", float64(read)/1e6, float64(total)/1e6)
}
