package command

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// Target is where a command finds the service, if not where the settings say. There is no flag for the token, which every
// user of the machine would see.
type Target struct {
	URL    string `name:"url" help:"Ask the service there, instead of the one that these settings make on this machine." env:"RATHOLE_URL" placeholder:"https://HOST:PORT"`
	CAFile string `name:"ca-file" help:"With --url: PEM file of the authorities to trust, instead of the system's." env:"RATHOLE_CA_FILE" type:"path" placeholder:"FILE"`
}

// Place is where the settings that the service serves with put it on this machine.
type Place struct {
	Listen    string // host:port
	TLSCert   string // PEM file; the service speaks HTTPS if it is set
	State     string // state directory; it holds the token if nothing else does
	Token     secret.String
	TokenFile string
	NoAuth    bool
}

// session is the service that a command asks.
type session struct {
	remote
	env   *Env
	url   string
	token token
}

// token is the API token and where it is from, or why there is none.
type token struct {
	secret secret.String
	place  string
	why    error
}

func (e *Env) dial(t Target) (*session, error) {
	cfg, token, err := e.config(t)
	if err != nil {
		return nil, err
	}
	r, err := e.Kind.dial(cfg)
	if err != nil {
		return nil, err
	}
	return &session{remote: r, env: e, url: strings.TrimRight(cfg.URL, "/"), token: token}, nil
}

func (e *Env) config(t Target) (client.Config, token, error) {
	if t.URL == "" && t.CAFile != "" {
		return client.Config{}, token{}, &Error{ExitUsage, errors.New("--ca-file goes with --url: the service on this machine is known by its own certificate, --tls-cert")}
	}
	if t.URL == "" {
		return e.Place.local()
	}
	if err := client.CheckURL(t.URL); err != nil {
		return client.Config{}, token{}, &Error{ExitUsage, fmt.Errorf("--url: %w", err)}
	}
	tok := e.Place.findToken(true)
	cfg := client.Config{URL: t.URL, Token: tok.secret}
	if t.CAFile == "" {
		return cfg, tok, nil
	}
	var err error
	cfg.TLS, err = client.TrustAuthority(t.CAFile)
	return cfg, tok, err
}

// local is the service on this machine. A wildcard is dialled on loopback.
func (p Place) local() (client.Config, token, error) {
	host, port, err := net.SplitHostPort(p.Listen)
	if err != nil {
		return client.Config{}, token{}, &Error{ExitUsage, fmt.Errorf("RATHOLE_LISTEN (--listen): %q is no address:port", p.Listen)}
	}
	if port == "0" {
		return client.Config{}, token{}, &Error{ExitUsage, fmt.Errorf("%s lets the kernel choose the service's port: give its address by --url", p.Listen)}
	}
	if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	tok := p.findToken(false)
	cfg := client.Config{URL: "http://" + net.JoinHostPort(host, port), Token: tok.secret, Direct: true}
	if p.TLSCert == "" {
		return cfg, tok, nil
	}
	cfg.URL = "https://" + net.JoinHostPort(host, port)
	cfg.TLS, err = client.TrustOnly(p.TLSCert)
	return cfg, tok, err
}

// findToken looks where the service does. The token in the state directory is this machine's service's, and is shown to no
// other.
func (p Place) findToken(remote bool) token {
	if !p.Token.IsZero() {
		return token{secret: p.Token, place: "RATHOLE_TOKEN"}
	}
	if p.NoAuth {
		return token{}
	}
	file := p.TokenFile
	switch {
	case file == "" && remote:
		return token{why: errors.New("RATHOLE_TOKEN and RATHOLE_TOKEN_FILE (--token-file) are not set")}
	case file == "":
		file = filepath.Join(p.State, "token")
	}
	text, err := os.ReadFile(file)
	switch found := strings.TrimSpace(string(text)); {
	case errors.Is(err, fs.ErrPermission):
		return token{why: fmt.Errorf("this user may not read %s, which holds it: run this as root or as the service's user, or set RATHOLE_TOKEN", file)}
	case errors.Is(err, fs.ErrNotExist):
		return token{why: fmt.Errorf("RATHOLE_TOKEN is not set and there is no %s: set RATHOLE_TOKEN, RATHOLE_TOKEN_FILE or RATHOLE_STATE_DIR as the service has them", file)}
	case err != nil:
		return token{why: err}
	case found == "":
		return token{why: fmt.Errorf("%s is empty", file)}
	default:
		return token{secret: secret.New(found), place: file}
	}
}
