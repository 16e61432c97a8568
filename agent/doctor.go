package agent

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/doctor"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
)

// synRetriesFile holds how often the kernel repeats the first packet of a connection.
const synRetriesFile = "/proc/sys/net/ipv4/tcp_syn_retries"

// synRetriesEnough is the most that is not warned of: 4 to 15 s until a connect gives up, by the kernel's version. The
// default of 6 makes that up to 135 s.
const synRetriesEnough = 3

// Doctor examines a machine for an agent with this config, which need not be valid.
func Doctor(ctx context.Context, sys doctor.System, s doctor.Settings, cfg Config) []doctor.Finding {
	s.Units, s.Flag, s.ConfigName = unitsDir, engineFlag, configName
	s.Binary, s.BinarySetting = cfg.Binary, "RATHOLE_CLIENT_BINARY"
	return append(doctor.Common(ctx, sys, s),
		checkManagers(ctx, sys, cfg),
		checkTargets(ctx, sys, cfg),
		checkSynRetries(sys),
	)
}

// checkManagers tells whether the hosts that clients may dial can be found. A client's config names its manager as the
// manager's RATHOLE_PUBLIC_HOST does: a name is accepted only if it is in the list, an address also if a name leads to it.
func checkManagers(ctx context.Context, sys doctor.System, cfg Config) doctor.Finding {
	f := doctor.Finding{Check: "managers", Status: doctor.OK, Value: strings.Join(cfg.Managers, ", ")}
	if len(cfg.Managers) == 0 {
		f.Status, f.Value = doctor.Warn, "any host"
		f.Mend = "whoever has the token can make this host dial any server: set RATHOLE_INSTANCE_MANAGER_HOST to the manager's RATHOLE_PUBLIC_HOST"
		return f
	}
	named := false
	for _, host := range cfg.Managers {
		if !rathole.ValidHost(host) {
			f.Status, f.Mend = doctor.Fail, fmt.Sprintf("%q is no host name and no address: mend RATHOLE_INSTANCE_MANAGER_HOST", host)
			return f
		}
		_, err := netip.ParseAddr(host)
		if err == nil {
			continue
		}
		named = true
		if addrs, err := sys.Lookup(ctx, host); err != nil || len(addrs) == 0 {
			f.Status, f.Value = doctor.Fail, fmt.Sprintf("%s does not resolve: %v", host, err)
			f.Mend = "clients cannot dial it: mend the name in RATHOLE_INSTANCE_MANAGER_HOST, or this machine's resolver"
			return f
		}
	}
	if !named {
		f.Value += " (by address: a config that dials by name is refused)"
	}
	return f
}

// checkTargets tells whether the allowed targets can be read. A name is allowed by name only, so nothing follows from
// what it resolves to but that it does.
func checkTargets(ctx context.Context, sys doctor.System, cfg Config) doctor.Finding {
	f := doctor.Finding{Check: "allowed targets", Status: doctor.OK, Value: "this machine"}
	if len(cfg.Targets) > 0 {
		f.Value += ", " + strings.Join(cfg.Targets, ", ")
	}
	for _, t := range cfg.Targets {
		network, err := netip.ParsePrefix(t)
		switch {
		case err == nil && network.Bits() == 0:
			f.Status = doctor.Warn
			f.Mend = fmt.Sprintf("%s is every address: whoever has the token can reach whatever this host reaches; name networks in RATHOLE_ALLOWED_TARGETS", t)
		case err == nil:
		case !rathole.ValidHost(t):
			f.Status = doctor.Fail
			f.Mend = fmt.Sprintf("%q is no address, no network such as 172.18.0.0/16, and no name: mend RATHOLE_ALLOWED_TARGETS", t)
			return f
		default:
			if addrs, err := sys.Lookup(ctx, t); err != nil || len(addrs) == 0 {
				f.Status, f.Mend = doctor.Warn, fmt.Sprintf("%s does not resolve on this machine now: is the name right, and its container up?", t)
			}
		}
	}
	return f
}

// checkSynRetries is about how long a client is blind after the network went away without a sign: its connect hangs until
// the kernel gives up.
func checkSynRetries(sys doctor.System) doctor.Finding {
	f := doctor.Finding{Check: "reconnecting", Status: doctor.OK}
	retries, err := sys.Number(synRetriesFile)
	if err != nil {
		f.Status, f.Value = doctor.Warn, "unknown: "+err.Error()
		return f
	}
	f.Value = fmt.Sprintf("net.ipv4.tcp_syn_retries = %d", retries)
	if retries > synRetriesEnough {
		f.Status = doctor.Warn
		f.Mend = fmt.Sprintf("after a network cut a client's connect can hang for up to 135 s: run `sysctl -w net.ipv4.tcp_syn_retries=%d`, "+
			"and write it into /etc/sysctl.d/90-rathole.conf to keep it", synRetriesEnough)
	}
	return f
}
