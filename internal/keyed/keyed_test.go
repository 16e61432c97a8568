package keyed

import (
	"context"
	"errors"
	"testing"
)

// TestAwaitOfOneWhoHasLeft does nothing for a caller who left while he waited, and neither holds the other up.
func TestAwaitOfOneWhoHasLeft(t *testing.T) {
	t.Parallel()
	var k Mutex
	unlock := k.Lock("one")
	ctx, leave := context.WithCancel(t.Context())
	got := make(chan error)
	go func() {
		_, err := k.Await(ctx, "one")
		got <- err
	}()
	leave()
	if err := <-got; !errors.Is(err, context.Canceled) { // though it is not his turn yet
		t.Errorf("he gets %v", err)
	}
	unlock()
	unlock, err := k.Await(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if len(k.locks) != 0 {
		t.Errorf("left are %v", k.locks)
	}
}
