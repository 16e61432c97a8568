package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/doctor"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
)

const (
	ephemeralFile  = "/proc/sys/net/ipv4/ip_local_port_range"
	reservedFile   = "/proc/sys/net/ipv4/ip_local_reserved_ports"
	bindV6OnlyFile = "/proc/sys/net/ipv6/bindv6only"

	// holdersNamed bounds how many programs are looked for by name: each takes a walk through /proc.
	holdersNamed = 3
)

// Doctor examines a machine for a manager with this config, which need not be valid.
func Doctor(ctx context.Context, sys doctor.System, s doctor.Settings, cfg Config) []doctor.Finding {
	s.Units, s.Flag, s.ConfigName = unitsDir, engineFlag, configName
	s.Binary, s.BinarySetting = cfg.Binary, "RATHOLE_BINARY"
	findings := doctor.Common(ctx, sys, s)
	if api, err := doctor.ListenAddress(ctx, sys, s.Listen); err == nil {
		cfg.APIPort = int(api.Port())
	}
	chosen := len(cfg.Public) > 0
	ranges := checkRangesFound(&cfg)
	findings = append(findings, ranges, checkBindFound(sys, &cfg), checkPublicHostFound(ctx, sys, cfg))
	if ranges.Status == doctor.Fail {
		return findings
	}
	own, err := recorded(sys, s)
	if err != nil {
		return append(findings, doctor.Finding{
			Check: "ports", Status: doctor.Warn, Value: "unknown: " + err.Error(), Mend: "run doctor as the manager's user",
		})
	}
	return append(findings,
		checkEphemeral(sys, cfg, chosen, own),
		checkTaken(ctx, sys, cfg.Bind, "control ports taken", cfg.Control, true, own, api.TCP),
		checkTaken(ctx, sys, cfg.Bind, "public ports taken", cfg.Public, chosen, own, api.TCP, api.UDP),
	)
}

// checkRangesFound completes the config's ranges.
func checkRangesFound(cfg *Config) doctor.Finding {
	f := doctor.Finding{Check: "port ranges", Status: doctor.OK}
	if len(cfg.Control) == 0 {
		cfg.Control = []api.PortRange{{Start: DefaultPortStart, End: DefaultPortEnd}}
	}
	if err := cfg.checkRanges(); err != nil {
		f.Status, f.Value, f.Mend = doctor.Fail, "not usable", err.Error()
		return f
	}
	f.Value = fmt.Sprintf("control %s; public %s", showAll(cfg.Control), showAll(cfg.Public))
	return f
}

// checkBindFound completes the config's address as Config.Check does, and tells what is lost where IPv6 is.
func checkBindFound(sys doctor.System, cfg *Config) doctor.Finding {
	f := doctor.Finding{Check: "bind address", Status: doctor.OK}
	asked := cfg.Bind.IsValid()
	if asked && cfg.Bind != netip.IPv6Unspecified() {
		f.Value = cfg.Bind.String()
		if err := sys.Bindable(api.TCP, netip.AddrPortFrom(cfg.Bind, 0)); err != nil {
			f.Status, f.Value = doctor.Fail, fmt.Sprintf("%s cannot be bound: %v", cfg.Bind, err)
			f.Mend = "set RATHOLE_BIND_ADDRESS to an address of this machine, or leave it unset for all"
		}
		return f
	}
	dual, err := sys.DualStack()
	if err == nil && dual {
		cfg.Bind = netip.IPv6Unspecified()
		f.Value = "[::], which takes IPv4 too"
		return f
	}
	const enable = "run `sysctl -w net.ipv6.bindv6only=0`, and write it into /etc/sysctl.d/90-rathole.conf to keep it"
	only, unknown := sys.Number(bindV6OnlyFile)
	separate := unknown == nil && only == 1
	switch {
	case asked && separate:
		f.Status, f.Value, f.Mend = doctor.Fail, "[::] under net.ipv6.bindv6only = 1 shuts out IPv4 players", enable+"; or set RATHOLE_BIND_ADDRESS=0.0.0.0"
	case asked:
		f.Status, f.Value, f.Mend = doctor.Fail, "[::], but this machine has no IPv6", "set RATHOLE_BIND_ADDRESS=0.0.0.0, or leave it unset"
	case separate:
		f.Status, f.Value, f.Mend = doctor.Warn, "0.0.0.0, without IPv6: net.ipv6.bindv6only = 1", "for players on IPv6 "+enable
	default:
		f.Value = "0.0.0.0: this machine has no IPv6"
	}
	if !asked {
		cfg.Bind = netip.IPv4Unspecified()
	}
	return f
}

// checkPublicHostFound tells whether clients and players have something to dial.
func checkPublicHostFound(ctx context.Context, sys doctor.System, cfg Config) doctor.Finding {
	f := doctor.Finding{Check: "public host", Status: doctor.OK}
	if err := cfg.checkPublicHost(); err != nil {
		f.Status, f.Value, f.Mend = doctor.Fail, "not usable", err.Error()
		return f
	}
	f.Value = cfg.PublicHost
	addrs, err := sys.Lookup(ctx, cfg.PublicHost)
	switch loopback := func(a netip.Addr) bool { return a.IsLoopback() }; {
	case err != nil || len(addrs) == 0:
		f.Status, f.Value = doctor.Warn, fmt.Sprintf("%s does not resolve here: %v", cfg.PublicHost, err)
		f.Mend = "clients and players dial this name: mend it in RATHOLE_PUBLIC_HOST, or in the DNS"
	case slices.ContainsFunc(addrs, loopback) && !cfg.Bind.IsLoopback():
		f.Status = doctor.Warn
		f.Mend = "it leads to loopback, which only this machine can dial: set RATHOLE_PUBLIC_HOST to the address that clients and players dial"
	}
	return f
}

// recorded gives the ports that the records name. A record that cannot be read has none here: its engine then counts among
// the other programs, and is named rathole.
func recorded(sys doctor.System, s doctor.Settings) (map[socket]string, error) {
	ids, err := sys.Records(s)
	if err != nil {
		return nil, err
	}
	own := map[socket]string{}
	for _, id := range ids {
		text, err := sys.ReadFile(filepath.Join(s.State, s.Units, id, "record.json"))
		if errors.Is(err, unix.EACCES) {
			return nil, err
		}
		var rec record
		if err != nil || json.Unmarshal(text, &rec) != nil {
			continue
		}
		for socket := range rec.Spec.sockets() {
			own[socket] = id
		}
	}
	return own, nil
}

// checkEphemeral is about ports that the kernel also gives to outgoing connections of any program, each of which can keep
// an engine from its port for as long as it likes. Where the public ports were not chosen the manager picks others by
// itself; only those that instances asked for count then.
func checkEphemeral(sys doctor.System, cfg Config, chosen bool, own map[socket]string) doctor.Finding {
	f := doctor.Finding{Check: "ephemeral ports", Status: doctor.OK}
	ephemeral, reserved, err := kernelPorts(sys)
	if err != nil {
		f.Status, f.Value = doctor.Warn, "unknown: "+err.Error()
		return f
	}
	f.Value = show(ephemeral) + " are for outgoing connections"
	wanted := slices.Clone(cfg.Control)
	if chosen {
		wanted = append(wanted, cfg.Public...)
	} else {
		for s := range own {
			if !within(wanted, s.port) {
				wanted = append(wanted, api.PortRange{Start: s.port, End: s.port})
			}
		}
	}
	slices.SortFunc(wanted, func(a, b api.PortRange) int { return a.Start - b.Start })
	exposed := subtractAll(intersect(wanted, ephemeral), reserved...)
	if len(exposed) == 0 {
		f.Value += ", none of ours"
		return f
	}
	f.Status = doctor.Warn
	f.Value += ", and also ours: " + showAll(exposed)
	all := strings.ReplaceAll(showAll(slices.Concat(reserved, exposed)), ", ", ",")
	f.Mend = fmt.Sprintf("a connection of any program may sit on them: run `sysctl -w net.ipv4.ip_local_reserved_ports=%s`, and write it "+
		"into /etc/sysctl.d/90-rathole.conf to keep it", all)
	return f
}

// kernelPorts gives the range of ephemeral ports, and the ports that are kept out of it.
func kernelPorts(sys doctor.System) (ephemeral api.PortRange, reserved []api.PortRange, err error) {
	text, err := sys.ReadFile(ephemeralFile)
	if err != nil {
		return ephemeral, nil, err
	}
	if _, err := fmt.Sscan(string(text), &ephemeral.Start, &ephemeral.End); err != nil {
		return ephemeral, nil, fmt.Errorf("%s holds %q", ephemeralFile, text)
	}
	text, err = sys.ReadFile(reservedFile)
	if err != nil {
		return ephemeral, nil, err
	}
	if list := strings.TrimSpace(string(text)); list != "" {
		reserved, err = ParseRanges(list)
	}
	return ephemeral, reserved, err
}

// checkTaken counts the ports of ranges that belong to other programs. Such a port is never given to an instance; it is worth
// a warning where somebody chose the ranges for it.
func checkTaken(ctx context.Context, sys doctor.System, bind netip.Addr, check string, ranges []api.PortRange, chosen bool, own map[socket]string, protocols ...api.Protocol) doctor.Finding {
	f := doctor.Finding{Check: check, Status: doctor.OK}
	var taken []socket
	for _, p := range protocols {
		// Who listens: a connection on its way through an ephemeral port is gone when its port is asked for.
		state := sockets.Listen
		if p == api.UDP {
			state = sockets.Close
		}
		found, err := sys.Sockets(ctx, sockets.Query{Protocol: p, States: []sockets.State{state}, LocalPorts: ranges})
		if err != nil {
			f.Status, f.Value = doctor.Warn, "unknown: "+err.Error()
			return f
		}
		for _, s := range found {
			its := socket{int(s.Local.Port()), p}
			if _, ours := own[its]; !ours && sockets.Overlaps(s.Local.Addr(), bind) && !slices.Contains(taken, its) {
				taken = append(taken, its)
			}
		}
	}
	if len(taken) == 0 {
		f.Value = fmt.Sprintf("none of %d, by other programs", count(ranges))
		return f
	}
	slices.SortFunc(taken, func(a, b socket) int { return a.port - b.port })
	var named []string
	for _, s := range taken[:min(len(taken), holdersNamed)] {
		name := fmt.Sprintf("%d/%s", s.port, s.protocol)
		if holder := doctor.HolderName(ctx, sys, s.protocol, netip.AddrPortFrom(bind, uint16(s.port))); holder != "" {
			name += " by " + holder
		}
		named = append(named, name)
	}
	if len(taken) > holdersNamed {
		named = append(named, "…")
	}
	f.Value = fmt.Sprintf("%d of %d, by other programs: %s", len(taken), count(ranges), strings.Join(named, ", "))
	if chosen {
		f.Status, f.Mend = doctor.Warn, "they are passed over: stop those programs, or choose ranges without these ports"
	}
	return f
}
