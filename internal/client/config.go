// Package client speaks the HTTP APIs of the manager and the agent.
//
// Every error says which service it came from. An answer of ours is an *api.Problem; any other answer, such as a proxy's,
// is an *HTTPError, so that nobody takes a stranger's 404 for the absence of an instance.
package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

const (
	// maxAnswer bounds an answer, in bytes. A page of a list, 1,000 instances of about 1.5 KiB each, takes less than half of it.
	maxAnswer = 4 << 20
	// attemptTimeout bounds one attempt. A manager holds a long poll for up to 50 s.
	attemptTimeout = 60 * time.Second
	// dialTimeout bounds the connect: a host that drops packets must not cost a whole attempt.
	dialTimeout = 5 * time.Second
	// idlePerHost is above the parallelism that people give to terraform, or each burst would dial anew.
	idlePerHost = 64
)

// Config says where a service is and how to speak to it.
type Config struct {
	// URL is where the service answers, such as https://vps:7001; CheckURL says what is accepted.
	URL string
	// Token is the service's API token. Without one no Authorization header is sent.
	Token secret.String
	// UserAgent is sent with every request; empty means the HTTP library's own.
	UserAgent string
	// TLS says which certificates are trusted; nil means the system's authorities.
	TLS *tls.Config
	// Direct keeps proxies of the environment out of the way, for a service on this machine.
	Direct bool
	// Transport replaces the HTTP transport, for tests; nil means one with a pool of connections of its own. Without the hooks of
	// httptrace, as *http.Transport has them, no call that failed counts as Unanswered.
	Transport http.RoundTripper
}

// CheckURL tells what keeps text from being the URL of a service: it must be http or https with a host, perhaps a path,
// and nothing else. User info is refused because URLs are shown in plans, logs and errors.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return errors.New("it is not a URL such as http://host:8081") // err would repeat the text, and a password in it
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Opaque != "":
		return errors.New("it must begin with http:// or https:// and a host, such as http://host:8081")
	case u.User != nil:
		return errors.New("it must not hold a user or password: tokens have settings of their own")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		return errors.New("it must not hold a query or a fragment")
	}
	return nil
}

// remote is one service: what Manager and Agent share.
type remote struct {
	kind  string // "manager" or "agent", for errors
	url   string // without a slash at the end
	token secret.String
	http  *resty.Client

	changed func() // called after every request that may have changed something
}

func newRemote(kind string, cfg Config) (*remote, error) {
	if err := CheckURL(cfg.URL); err != nil {
		return nil, fmt.Errorf("the URL of the %s is not usable: %w", kind, err)
	}
	transport := cfg.Transport
	if transport == nil {
		transport = newTransport(cfg)
	}
	base := strings.TrimRight(cfg.URL, "/")
	c := resty.New().
		SetTransport(transport).
		SetBaseURL(base).
		SetResponseBodyLimit(maxAnswer).
		SetDisableWarn(true). // it would warn about tokens over plain HTTP on the plugin's stderr, for each request
		SetLogger(silent{}).
		SetRedirectPolicy(resty.RedirectPolicyFunc(func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a redirect could carry the token to another host
		}))
	if cfg.UserAgent != "" {
		c.SetHeader("User-Agent", cfg.UserAgent)
	}
	if !cfg.Token.IsZero() {
		c.SetAuthToken(cfg.Token.Reveal())
	}
	return &remote{kind: kind, url: base, token: cfg.Token, http: c, changed: func() {}}, nil
}

// URL is where the service answers, without a slash at the end.
func (r *remote) URL() string { return r.url }

func newTransport(cfg Config) *http.Transport {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          4 * idlePerHost,
		MaxIdleConnsPerHost:   idlePerHost,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   dialTimeout,
		ExpectContinueTimeout: time.Second,
		TLSClientConfig:       cfg.TLS,
	}
	if cfg.Direct {
		t.Proxy = nil
	}
	return t
}

// silent keeps the HTTP library from writing to stderr; every error is returned.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
