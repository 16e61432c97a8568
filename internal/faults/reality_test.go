package faults_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/events"
)

// engines finds the processes whose command line names a config of this program's, by unit.
func (p *program) engines() (map[string][]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	units := filepath.Join(p.State, p.Kind.units()) + "/"
	found := map[string][]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue // gone meanwhile
		}
		if _, path, ok := bytes.Cut(text, []byte(units)); ok {
			id, _, _ := strings.Cut(string(path), "/")
			found[id] = append(found[id], pid)
		}
	}
	return found, nil
}

// onDisk is the part of a record that tells what a unit holds.
type onDisk struct {
	ID      string `json:"id"`
	Desired string `json:"desired"`
	Spec    struct {
		ControlPort int                    `json:"control_port"`
		Services    map[string]api.Service `json:"services"`
	} `json:"spec"`
}

// differences compares disk and processes with what should be there: the units by id, true for those that should run, and
// the pids of engines that nothing may have replaced. It returns the pids of all engines.
func (p *program) differences(want map[string]bool, kept map[string]int) (pids map[string]int, err error) {
	var errs []error
	say := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	list := func(dir string) []string {
		found, err := names(filepath.Join(p.State, dir))
		if err != nil {
			errs = append(errs, err)
		}
		return found
	}
	units := p.Kind.units()
	for _, name := range list(units) {
		if _, ok := want[name]; !ok {
			say("left in %s: %s", units, name)
		}
	}
	for _, name := range list("log") {
		id, _, _ := strings.Cut(name, ".")
		if _, ok := want[id]; !ok && !events.IsFile(name) {
			say("left in log: %s", name)
		}
	}
	engines, err := p.engines()
	if err != nil {
		return kept, err
	}
	pids = map[string]int{}
	for id, running := range want {
		if n := len(engines[id]); running && n != 1 || !running && n != 0 {
			say("%s should run is %v, and %d engines run: %v", id, running, n, engines[id])
		} else if running {
			pids[id] = engines[id][0]
			if before := kept[id]; before != 0 && before != pids[id] {
				say("the engine of %s, process %d, was replaced by %d without need", id, before, pids[id])
			}
		}
		delete(engines, id)
		for _, name := range list(filepath.Join(units, id)) {
			if !slices.Contains([]string{"record.json", "hints.json", "run.lock", "run.json", "conf"}, name) {
				say("left in %s: %s", id, name)
			}
		}
		if got := list(filepath.Join(units, id, "conf")); len(got) > 1 {
			say("left in the config directory of %s: %v", id, got)
		}
	}
	for id, found := range engines {
		say("engines without a record: %s, %v", id, found)
	}
	if len(errs) > 0 {
		return kept, errors.Join(errs...)
	}
	return pids, nil
}

// names lists a directory; one that is not there is empty.
func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.Name()
	}
	return out, err
}

// socket is a port of one protocol.
type socket struct {
	port     int
	protocol api.Protocol
}

// owners are the ports that the records on disk name. A port that two name is an error.
func (p *program) owners() (map[socket]string, error) {
	var errs []error
	held := map[socket]string{}
	take := func(id string, port int, protocol api.Protocol) {
		s := socket{port, protocol}
		if other, ok := held[s]; ok {
			errs = append(errs, fmt.Errorf("%d/%s is given to %s and to %s", port, protocol, other, id))
		}
		held[s] = id
	}
	records, err := filepath.Glob(filepath.Join(p.State, p.Kind.units(), "*", "record.json"))
	if err != nil {
		return nil, err
	}
	for _, path := range records {
		text, err := os.ReadFile(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		var rec onDisk
		if err := json.Unmarshal(text, &rec); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
			continue
		}
		take(rec.ID, rec.Spec.ControlPort, api.TCP)
		for _, svc := range rec.Spec.Services {
			for _, protocol := range svc.Protocols {
				take(rec.ID, svc.PublicPort, protocol)
			}
		}
	}
	return held, errors.Join(errs...)
}

// sameUses compares what the API says of ports with what the records say.
func sameUses(ports api.Ports, held map[socket]string) error {
	var errs []error
	told := map[socket]string{}
	for _, use := range slices.Concat(ports.Control.Uses, ports.Public.Uses) {
		for _, protocol := range use.Protocols {
			s := socket{use.Port, protocol}
			if other, ok := told[s]; ok {
				errs = append(errs, fmt.Errorf("/api/ports gives %d/%s to %s and to %s", use.Port, protocol, other, use.ServerID))
			}
			told[s] = use.ServerID
			if held[s] != use.ServerID {
				errs = append(errs, fmt.Errorf("/api/ports gives %d/%s to %s, the records to %q", use.Port, protocol, use.ServerID, held[s]))
			}
		}
	}
	for s, id := range held {
		if told[s] == "" {
			errs = append(errs, fmt.Errorf("%d/%s of %s is not in /api/ports", s.port, s.protocol, id))
		}
	}
	return errors.Join(errs...)
}

// listens tells whether something accepts connections at an address.
func listens(host string, port int) error {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, strconv.Itoa(port)), time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}
