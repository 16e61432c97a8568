package service

import (
	"context"
	"log/slog"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/sockets"
)

// EndWatch has units looked at as soon as sockets of theirs end: the kernel tells of each. So what becomes worse is seen at
// once, however rare a look at all units is.
type EndWatch[S any] struct {
	Observer *Observer[S]
	// Of names the units whose sockets these may have been.
	Of func(ended []sockets.Socket) []string
	// Silent, if not nil, is called when the kernel tells nothing any more, until Of is called again.
	Silent func()
	Log    *slog.Logger
}

// againAfter is the pause until the kernel is asked again to tell, after it could not: for want of a descriptor perhaps.
const againAfter = 10 * time.Second

// Run watches until ctx ends. Where the kernel does not tell, or a sandbox forbids to ask it, looks at all units have to do.
func (w *EndWatch[S]) Run(ctx context.Context) {
	warned := false
	for {
		err := sockets.Ends(ctx, func(ended []sockets.Socket, missed bool) {
			if missed {
				w.Observer.Missed()
			}
			if ids := w.Of(ended); len(ids) > 0 {
				w.Observer.Ended(ids...)
			}
		})
		if ctx.Err() != nil {
			return
		}
		if !warned {
			w.Log.Warn("the kernel tells nothing of sockets that end: changes are seen a few seconds later", "error", err)
			warned = true
		}
		if w.Silent != nil {
			w.Silent()
		}
		w.Observer.Missed()
		pause := time.NewTimer(againAfter)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
	}
}
