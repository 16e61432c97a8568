package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// library counts how it is read.
type library struct {
	gets, lists atomic.Int32
	books       []string
	closed      atomic.Bool // to lists
}

func (l *library) reads() *reads[string] {
	return newReads(fewInstances,
		func(_ context.Context, id string) (string, error) {
			l.gets.Add(1)
			for _, b := range l.books {
				if b == id {
					return b, nil
				}
			}
			return "", errors.New("no such book")
		},
		func(context.Context) ([]string, error) {
			l.lists.Add(1)
			if l.closed.Load() {
				return nil, errors.New("closed")
			}
			return l.books, nil
		},
		func(b string) string { return b },
	)
}

func newLibrary(n int) *library {
	l := &library{}
	for i := range n {
		l.books = append(l.books, fmt.Sprint(i))
	}
	return l
}

// readAll reads every book, ten at a time as Terraform does.
func (l *library) readAll(t *testing.T, r *reads[string]) {
	t.Helper()
	next := make(chan string)
	var readers sync.WaitGroup
	for range 10 {
		readers.Go(func() {
			for id := range next {
				if got, err := r.read(t.Context(), id); err != nil || got != id {
					t.Errorf("read %s: %q %v", id, got, err)
				}
			}
		})
	}
	for _, id := range l.books {
		next <- id
	}
	close(next)
	readers.Wait()
}

func TestReadsOfManyShareAList(t *testing.T) {
	t.Parallel()
	l := newLibrary(1000)
	l.readAll(t, l.reads())
	if gets, lists := l.gets.Load(), l.lists.Load(); gets > 2*fewInstances || lists < 1 || gets+lists > 50 {
		t.Errorf("%d gets and %d lists for 1000 reads", gets, lists)
	}
}

func TestReadsOfAFewAreReadOneByOne(t *testing.T) {
	t.Parallel()
	l := newLibrary(fewInstances)
	l.readAll(t, l.reads())
	if gets, lists := l.gets.Load(), l.lists.Load(); gets != fewInstances || lists != 0 {
		t.Errorf("%d gets and %d lists", gets, lists)
	}
}

func TestReadsTrustNoListForAbsenceOrAfterAChange(t *testing.T) {
	t.Parallel()
	l := newLibrary(20)
	r := l.reads()
	l.readAll(t, r)
	before := l.gets.Load()
	if _, err := r.read(t.Context(), "none"); err == nil || l.gets.Load() != before+1 {
		t.Errorf("%v after %d gets", err, l.gets.Load()-before)
	}
	lists := l.lists.Load()
	r.forget()
	if _, err := r.read(t.Context(), "1"); err != nil || l.lists.Load() != lists+1 {
		t.Errorf("%v, %d lists after forget", err, l.lists.Load()-lists)
	}
}

func TestReadsSurviveAListThatFails(t *testing.T) {
	t.Parallel()
	l := newLibrary(100)
	l.closed.Store(true)
	synctest.Test(t, func(t *testing.T) {
		r := l.reads()
		l.readAll(t, r)
		if gets, lists := l.gets.Load(), l.lists.Load(); gets != 100 || lists != 1 {
			t.Errorf("%d gets and %d lists", gets, lists)
		}
		l.closed.Store(false)
		time.Sleep(readsFresh + time.Second) // in virtual time
		l.readAll(t, r)
		if gets, lists := l.gets.Load(), l.lists.Load(); gets != 100+fewInstances || lists != 2 {
			t.Errorf("open again: %d gets and %d lists", gets, lists)
		}
	})
}

func TestDryRunsDropNoList(t *testing.T) {
	t.Parallel()
	m, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			answer(w, http.StatusOK, api.InstanceList{Instances: []api.Instance{{ServerID: "a"}}})
			return
		}
		answer(w, http.StatusCreated, api.Instance{ServerID: "a"})
	})
	for dry, dropped := range map[bool]bool{true: false, false: true} {
		if _, ok := m.reads.listedOne(t.Context(), "a"); !ok {
			t.Fatal("the list is not kept")
		}
		_, _, err := m.Create(t.Context(), api.CreateInstance{ServerID: "a"}, CreateOptions{DryRun: dry})
		if _, err2 := m.Update(t.Context(), "a", api.UpdateInstance{}, UpdateOptions{DryRun: dry}); err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		m.reads.mu.Lock()
		if (m.reads.all == nil) != dropped {
			t.Errorf("dry run: %t, dropped the list: %t", dry, m.reads.all == nil)
		}
		m.reads.mu.Unlock()
	}
}
