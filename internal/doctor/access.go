package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
)

const (
	// tokenEnough is in characters: 16 of a random token in hexadecimal are 64 bits, which nobody guesses over a network.
	tokenEnough = 16
	// certificateSoon is how long before its end a certificate is warned of.
	certificateSoon = 14 * 24 * time.Hour
)

// checkToken tells where the API token is, and never what it is.
func checkToken(sys System, s Settings) Finding {
	f := Finding{Check: "API token", Status: OK}
	if s.NoAuth {
		f.Status, f.Value = Warn, "none: everybody is answered (--no-auth)"
		f.Mend = "whoever reaches the API rules this machine's tunnels: remove --no-auth"
		return f
	}
	token, place := strings.TrimSpace(s.Token.Reveal()), ""
	f.Value = "in RATHOLE_TOKEN"
	if token == "" {
		place = s.TokenFile
		if place == "" {
			place = filepath.Join(s.State, "token")
		}
		text, err := sys.ReadFile(place)
		token = strings.TrimSpace(string(text))
		f.Value = "in " + place
		switch {
		case errors.Is(err, fs.ErrNotExist) && s.TokenFile == "":
			f.Value = fmt.Sprintf("will be made at the first start, in %s", place)
			return f
		case err != nil:
			f.Status, f.Value, f.Mend = Fail, err.Error(), "let the service's user read it, or set RATHOLE_TOKEN_FILE to the file that holds the token"
			return f
		case token == "":
			f.Status, f.Value, f.Mend = Fail, place+" is empty", "write a token into it: openssl rand -hex 32"
			return f
		}
	}
	if len(token) < tokenEnough {
		f.Status, f.Value = Warn, f.Value+", too short"
		f.Mend = fmt.Sprintf("fewer than %d characters can be guessed: make one by `openssl rand -hex 32`", tokenEnough)
		return f
	}
	if place == "" {
		return f
	}
	if info, err := sys.Stat(place); err == nil && info.Mode.Perm()&0o077 != 0 {
		f.Status, f.Mend = Warn, fmt.Sprintf("others may read it (mode %04o): chmod 600 %s", info.Mode.Perm(), place)
	}
	return f
}

// checkExposure tells how the API is protected on its way.
func checkExposure(sys System, s Settings) Finding {
	f := Finding{Check: "API protection", Status: OK}
	switch {
	case (s.TLSCert == "") != (s.TLSKey == ""):
		f.Status, f.Value = Fail, "a TLS certificate without its key, or a key without its certificate"
		f.Mend = "set both RATHOLE_TLS_CERT and RATHOLE_TLS_KEY, or none"
	case s.TLSCert != "":
		return checkCertificate(sys, s)
	case httpapi.IsLoopback(s.Listen):
		f.Value = "plain HTTP on loopback"
	case s.PlainHTTP:
		f.Status, f.Value = Warn, "plain HTTP on "+s.Listen
		f.Mend = "token and secrets travel in clear: set RATHOLE_TLS_CERT and RATHOLE_TLS_KEY, or let only a VPN reach it"
	default:
		f.Status, f.Value = Fail, "none on "+s.Listen+", and so the service refuses to start"
		f.Mend = "set RATHOLE_TLS_CERT and RATHOLE_TLS_KEY, listen on loopback, or allow clear text by RATHOLE_PLAIN_HTTP=true"
	}
	return f
}

func checkCertificate(sys System, s Settings) Finding {
	f := Finding{Check: "API protection", Status: Fail, Mend: "set RATHOLE_TLS_CERT and RATHOLE_TLS_KEY to PEM files that belong together"}
	cert, err := sys.ReadFile(s.TLSCert)
	if err != nil {
		f.Value = err.Error()
		return f
	}
	key, err := sys.ReadFile(s.TLSKey)
	if err != nil {
		f.Value = err.Error()
		return f
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		f.Value = err.Error()
		return f
	}
	end, left := pair.Leaf.NotAfter, pair.Leaf.NotAfter.Sub(sys.Now())
	f.Value, f.Mend = "HTTPS, certificate until "+end.Format(time.DateOnly), "renew the certificate, then restart the service: it keeps its tunnels"
	switch {
	case left < 0:
	case left < certificateSoon:
		f.Status = Warn
	default:
		f.Status, f.Mend = OK, ""
	}
	return f
}

// checkListen tells whether the API's port can be had. A running service has it already.
func checkListen(ctx context.Context, sys System, s Settings, running occupied) Finding {
	f := Finding{Check: "API address", Status: OK, Value: s.Listen}
	addr, err := ListenAddress(ctx, sys, s.Listen)
	if err != nil {
		f.Status, f.Mend = Fail, fmt.Sprintf("%v: set RATHOLE_LISTEN to address:port", err)
		return f
	}
	if running == yes {
		f.Value += ", the running service's own"
		return f
	}
	// Without a host Go listens on [::], and on 0.0.0.0 where there is no IPv6.
	err = sys.Bindable(api.TCP, addr)
	if errors.Is(err, unix.EAFNOSUPPORT) && addr.Addr() == netip.IPv6Unspecified() {
		err = sys.Bindable(api.TCP, netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port()))
	}
	if err == nil {
		return f
	}
	f.Status, f.Value = Fail, fmt.Sprintf("%s cannot be had: %v", s.Listen, err)
	if running == unseen {
		f.Status, f.Mend = Warn, "run doctor as the service's user: it may be the service that has it"
		return f
	}
	f.Mend = "choose another address with RATHOLE_LISTEN"
	if holder := HolderName(ctx, sys, api.TCP, addr); holder != "" {
		f.Value, f.Mend = s.Listen+" is held by "+holder, "stop it, or choose another address with RATHOLE_LISTEN"
	}
	return f
}

// ListenAddress reads host:port as a service listens on it: no host is every address, a name is what it resolves to.
func ListenAddress(ctx context.Context, sys System, listen string) (netip.AddrPort, error) {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address:port", listen)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no port", text)
	}
	if host == "" {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port)), nil
	}
	addrs, err := sys.Lookup(ctx, host)
	if err != nil || len(addrs) == 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address of this machine: %w", host, err)
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), uint16(port)), nil
}

// HolderName names the program that holds an address; empty if it cannot be seen.
func HolderName(ctx context.Context, sys System, p api.Protocol, addr netip.AddrPort) string {
	h, found, err := sys.Holder(ctx, p, addr)
	if err != nil || !found || h.PID == 0 {
		return ""
	}
	return fmt.Sprintf("%s (pid %d)", h.Program, h.PID)
}
