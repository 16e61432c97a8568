// Package wait is the part of the test kit that needs nothing of this module, for tests of the packages below the
// services.
package wait

import (
	"context"
	"log/slog"
	"testing"
	"time"
)

// Failing is the part of a test that Eventually needs; those of other test frameworks have it too.
type Failing interface {
	Helper()
	Fatalf(format string, args ...any)
	Context() context.Context
}

// Eventually asks until what returns nil, and fails the test with its last error after within.
func Eventually(t Failing, within time.Duration, what func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), within)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := what()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %s: %v", within, err)
		}
	}
}

// Logger logs to the test, as long as it runs.
func Logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(writer{t}, nil))
}

type writer struct{ t testing.TB }

func (w writer) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil { // logging after the end of a test panics
		w.t.Log(string(p[:len(p)-1]))
	}
	return len(p), nil
}
