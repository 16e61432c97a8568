package testkit

import (
	"io"
	"log/slog"
)

// LogTo logs everything to w, for tests that search what was logged. w is written to by one goroutine at a time.
func LogTo(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
