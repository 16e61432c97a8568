package supervisor

import "context"

// BlockingCalls is how many calls that keep a thread of the kernel busy (a sync of the disk, a fork) are under way at most.
// Go's runtime makes a thread for each, and aborts the whole service when it gets none: a service that keeps this many
// threads ready needs no further one when the machine has none left.
const BlockingCalls = 12

// slots bounds calls that block.
type slots chan struct{}

func (s slots) take() func() {
	s <- struct{}{}
	return func() { <-s }
}

// boundedStore bounds the writes of a Store.
type boundedStore struct {
	Store
	slots slots
}

func (b boundedStore) Create(ctx context.Context, id string, text []byte) error {
	defer b.slots.take()()
	return b.Store.Create(ctx, id, text)
}

func (b boundedStore) Sync(ctx context.Context) error {
	defer b.slots.take()()
	return b.Store.Sync(ctx)
}

func (b boundedStore) Replace(ctx context.Context, id string, text []byte) error {
	defer b.slots.take()()
	return b.Store.Replace(ctx, id, text)
}

func (b boundedStore) SetHints(ctx context.Context, id string, hints map[string]string) error {
	defer b.slots.take()()
	return b.Store.SetHints(ctx, id, hints)
}

func (b boundedStore) Remove(ctx context.Context, id string) error {
	defer b.slots.take()()
	return b.Store.Remove(ctx, id)
}

// boundedBackend bounds what a Backend forks and writes. Stop is not among it: it waits, and not in the kernel.
type boundedBackend struct {
	Backend
	slots slots
}

func (b boundedBackend) Start(ctx context.Context, u Unit) (Process, error) {
	defer b.slots.take()()
	return b.Backend.Start(ctx, u)
}

func (b boundedBackend) WriteConfig(u Unit) error {
	defer b.slots.take()()
	return b.Backend.WriteConfig(u)
}

func (b boundedBackend) Clean(id string) error {
	defer b.slots.take()()
	return b.Backend.Clean(id)
}
