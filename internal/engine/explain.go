package engine

import (
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/limits"
	"github.com/satishost/terraform-provider-rathole/internal/rathole"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// The reasons why an engine does not run, in a unit's status.
const (
	ReasonEngineMissing    = "engine_missing"
	ReasonControlPortInUse = "control_port_in_use"
	ReasonInotifyExhausted = string(limits.Inotify)
	ReasonConfigRefused    = "config_refused"
	ReasonExited           = "exited"
)

// explain gives the cause of an engine's end, from its exit status and the two files that it wrote. watches tells whether
// this build watches its config, uid is the user that it ran as.
func explain(p supervisor.Process, watches bool, uid int) *supervisor.Failure {
	complaint := lastComplaint(p.ErrLog)
	lines, _, err := rathole.ReadLog(p.Log, p.LogOffset, logWindow)
	if err != nil {
		lines = nil // a log that cannot be read has nothing to add
	}
	silent := p.Exit.Known && p.Exit.Code == 0 && watches && p.Exit.At.Sub(p.StartedAt) < silentWithin
	for _, line := range lines {
		silent = silent && rathole.ParseLine(line).Kind != rathole.KindWatching
	}
	switch {
	case strings.Contains(complaint, "Address already in use"):
		return &supervisor.Failure{Reason: ReasonControlPortInUse, Message: "another program holds the control port"}
	case silent:
		return withoutInotify()
	case p.Exit.OOMKills > 0:
		return &supervisor.Failure{Reason: string(limits.Memory), Message: "the engine " + p.Exit.String() + "; " + limits.This().Killed(p.Exit.OOMKills)}
	}
	if f := ranOut(complaint, uid); f != nil {
		return f
	}
	if p.Exit.Known && p.Exit.Code == 1 && complaint != "" {
		return &supervisor.Failure{Reason: ReasonConfigRefused, Message: "rathole refuses its config: " + complaint}
	}
	// The log goes on over all processes of a unit: what an earlier one said is none of this one's words.
	if last, err := rathole.TailLog(p.Log, 1); complaint == "" && err == nil && len(last) == 1 && len(lines) > 0 {
		complaint = rathole.ParseLine(last[0]).Text
		if f := ranOut(complaint, uid); f != nil {
			return f
		}
	}
	f := &supervisor.Failure{Reason: ReasonExited, Message: "the engine " + p.Exit.String()}
	if complaint != "" {
		f.Message += "; its last words: " + complaint
	}
	return f
}

// lastComplaint is what a panic or a refused config left on standard error, on one line.
func lastComplaint(path string) string {
	lines, err := rathole.TailLog(path, 12)
	if err != nil {
		return ""
	}
	var said []string
	unwritten := "" // of a log that could not be written: said again and again, and no cause of an end
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[tracing-subscriber]") {
			unwritten = line
			continue
		}
		if line != "" && !strings.HasPrefix(line, "note:") && !strings.HasPrefix(strings.ToLower(line), "stack backtrace") {
			said = append(said, line)
		}
	}
	if len(said) == 0 {
		return unwritten
	}
	return strings.Join(said, " ")
}
