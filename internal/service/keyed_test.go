package service

import (
	"context"
	"errors"
	"testing"
)

// TestAwaitOfOneWhoHasLeft does nothing for a caller who left while he waited, and holds up nobody.
func TestAwaitOfOneWhoHasLeft(t *testing.T) {
	t.Parallel()
	var k Keyed
	unlock := k.Lock("one")
	ctx, leave := context.WithCancel(t.Context())
	got := make(chan error)
	go func() {
		_, err := k.Await(ctx, "one")
		got <- err
	}()
	leave()
	unlock()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("he gets %v", err)
	}
	unlock, err := k.Await(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if len(k.locks) != 0 {
		t.Errorf("left are %v", k.locks)
	}
}
