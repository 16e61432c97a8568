package service

import (
	"errors"
	"os"
	"runtime"
	"sync"

	"github.com/satishost/terraform-provider-rathole/internal/limits"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// spareThreads is for what blocks in the kernel for a moment only, such as reading a log.
const spareThreads = 6

// KeepThreads makes the threads that a service will ever need, which the runtime then keeps. It aborts a program for which
// the kernel has no further thread, and so a service at the limit would die of the next request, and again and again. The
// error says which limit leaves too few threads to begin with.
func KeepThreads() error {
	n := runtime.GOMAXPROCS(0) + supervisor.BlockingCalls + spareThreads
	if trouble, found := limits.This().TooFew(uint64(n), os.Geteuid()); found {
		return errors.New(trouble.Message)
	}
	var here, gone sync.WaitGroup
	here.Add(n)
	for range n {
		gone.Go(func() {
			// Each goroutine holds a thread of its own until all of them have one.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			here.Done()
			here.Wait()
		})
	}
	gone.Wait()
	return nil
}
