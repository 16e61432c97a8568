package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/events"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
)

// proveEmpty looks for what a destroy must not leave: an engine, a public port, a file of the instance.
func (w *world) proveEmpty(_ context.Context, port int) error {
	left, err := Processes(w.dir)
	if err != nil {
		return err
	}
	var errs []error
	if len(left) != len(w.services) { // the services themselves are still there
		errs = append(errs, leftError(left))
	}
	for _, p := range []int{port, port + 1} {
		for _, proto := range []api.Protocol{api.TCP, api.UDP} {
			if err := sockets.Bindable(proto, netip.AddrPortFrom(netip.MustParseAddr(publicHost), uint16(p))); err != nil {
				errs = append(errs, fmt.Errorf("port %d/%s is still taken: %w", p, proto, err))
			}
		}
	}
	for _, dir := range []string{"rathole-manager/instances", "rathole-manager/log", "rathole-agent/clients", "rathole-agent/log"} {
		entries, err := os.ReadDir(filepath.Join(w.dir, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if events.IsFile(e.Name()) {
				continue // it tells what happened, also after the end
			}
			errs = append(errs, fmt.Errorf("%s/%s is left", dir, e.Name()))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := w.times(); err != nil {
		return err
	}
	w.say("\nNothing is left: no engine runs, ports %d and %d are free, no file of the instance exists.", port, port+1)
	return nil
}

// Processes lists whatever on this machine runs a program, or on a file, below dir.
func Processes(dir string) ([]string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err == nil && strings.Contains(string(text), dir) {
			found = append(found, e.Name()+" "+strings.ReplaceAll(strings.Trim(string(text), "\x00"), "\x00", " "))
		}
	}
	return found, nil
}

// freePorts finds two neighbouring ports that nobody has, on either address and for both protocols.
func freePorts(hosts ...netip.Addr) (int, error) {
	for port := 30000; port < 32000; port += 2 {
		if err := allFree(port, hosts); err == nil {
			return port, nil
		}
	}
	return 0, errors.New("find two free ports between 30000 and 32000: none left")
}

func allFree(port int, hosts []netip.Addr) error {
	var errs []error
	for _, host := range hosts {
		for _, p := range []int{port, port + 1} {
			addr := netip.AddrPortFrom(host, uint16(p))
			errs = append(errs, sockets.Bindable(api.TCP, addr), sockets.Bindable(api.UDP, addr))
		}
	}
	return errors.Join(errs...)
}

// freeTCP is a port for an API. It is taken a moment later; should another program be faster, the service says so.
func freeTCP() (int, error) {
	ln, err := net.Listen("tcp", publicHost+":0") //nolint:noctx // closed at once
	if err != nil {
		return 0, err
	}
	return ln.Addr().(*net.TCPAddr).Port, ln.Close()
}
