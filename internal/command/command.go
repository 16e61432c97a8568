// Package command asks the service that runs: the commands of rathole-manager and rathole-agent beside serving. Each is a
// file; what a command prints to stdout is made for pipes, all that is only for people at a terminal goes to stderr.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"syscall"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
)

// ExitCodes is what --help says of them.
const ExitCodes = "Exit codes: 0 done; 1 it failed; 2 it was not understood; 3 what was asked for is not so (wait, probe, reconcile)."

// The exit codes, apart from 0 and 1.
const (
	ExitUsage = 2
	ExitUnmet = 3
)

// Commands are the commands that ask the running service. To add one, add a field whose type has a method
// Run(context.Context, *Env) error.
type Commands struct {
	List       List       `cmd:"" help:"List ${units}: status, ports, and what is wrong."`
	Show       Show       `cmd:"" help:"Show one ${unit} with its conditions."`
	Logs       Logs       `cmd:"" help:"Print the log of an engine."`
	Events     Events     `cmd:"" help:"Print what happened, and why."`
	Restart    Restart    `cmd:"" help:"Replace the engine of one ${unit} by a new process; its players are dropped."`
	Wait       Wait       `cmd:"" help:"Wait until one ${unit} has a status."`
	Upgrade    Upgrade    `cmd:"" help:"Take up the rathole that this machine has now, ${unit} by ${unit}; the players of each are dropped once."`
	Reconcile  Reconcile  `cmd:"" help:"Show engines that have no record, and records that cannot be read; stop those engines."`
	Completion Completion `cmd:"" help:"Print a shell's completion of these commands: source <(${name} completion bash)."`
}

// Env is what a command works with.
type Env struct {
	Program        string // rathole-manager or rathole-agent
	Kind           Kind
	Place          Place
	Stdout, Stderr io.Writer
}

// Kind is the kind of service that a program asks.
type Kind struct {
	Unit, Units string   // what people call one of its units, and many
	Statuses    string   // what a unit's status can be, with commas
	columns     []string // of the list between status and reason
	dial        func(client.Config) (remote, error)
}

// unit is an instance or a client, as the commands show it.
type unit struct {
	id         string
	status     api.Status
	conditions []api.Condition
	columns    []string   // as in Kind
	details    [][]string // name and value, for show
	wire       any        // what the API answered, for JSON
}

// remote is the running service.
type remote interface {
	// list returns the units whose id begins with prefix and whose status is the given one, sorted; empty is any. wire is the
	// API's answer.
	list(ctx context.Context, prefix string, status api.Status) (found []unit, wire any, err error)
	get(ctx context.Context, id string) (unit, error)
	// look is get for one who waits for a status: it answers once the unit has it, or with what it is after held or sooner.
	look(ctx context.Context, id string, want api.Status, held time.Duration) (unit, error)

	Logs(ctx context.Context, id string, q client.LogQuery) (api.Logs, error)
	FollowLogs(ctx context.Context, id string, q client.LogQuery) iter.Seq2[string, error]
	Events(ctx context.Context, q client.EventQuery) (api.EventList, error)
	FollowEvents(ctx context.Context, q client.EventQuery) iter.Seq2[api.Event, error]
	Restart(ctx context.Context, id string) (api.Restarted, error)
	Engine(ctx context.Context) (api.Engine, error)
	UpgradeEngine(ctx context.Context) (e api.Engine, begun bool, err error)
	Reconciliation(ctx context.Context) (api.Reconciliation, error)
	AcceptStrangers(ctx context.Context) (api.Reconciliation, error)
	Health(ctx context.Context) (api.Health, error)
}

// Error is an error with an exit code of its own.
type Error struct {
	Code int
	Err  error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the error itself.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode is the program's exit code after an error.
func ExitCode(err error) int {
	var coded *Error
	switch {
	case err == nil, errors.Is(err, syscall.EPIPE): // who reads only the beginning, as head does, has seen enough
		return 0
	case errors.As(err, &coded):
		return coded.Code
	default:
		return 1
	}
}

func printJSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(v)
}

// printLine is printJSON on one line.
func printLine(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	return out.Encode(v)
}
