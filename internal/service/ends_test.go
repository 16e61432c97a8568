package service

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/sockets"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

var errNotDue = errors.New("not due")

// TestEndWatch closes sockets of a unit: it becomes due for a look.
func TestEndWatch(t *testing.T) {
	t.Parallel()
	_, o := newSky(t, "one", "two")
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(l.LocalAddr().(*net.UDPAddr).Port)
	w := EndWatch[struct{}]{Observer: o, Log: wait.Logger(t), Of: func(ended []sockets.Socket) (ids []string) {
		for _, s := range ended {
			if s.Protocol == api.UDP && s.Local.Port() == port {
				ids = append(ids, "one")
			}
		}
		return ids
	}}
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		w.Run(t.Context())
	}()
	t.Cleanup(func() { <-watching })
	wait.Eventually(t, 20*time.Second, func() error { // it may not listen yet
		_ = l.Close()
		if _, due := o.nextDue(); due {
			return nil
		}
		if again, err := net.ListenPacket("udp", l.LocalAddr().String()); err == nil {
			l = again
		}
		return errNotDue
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, one := o.due["one"]; !one || len(o.due) != 1 {
		t.Errorf("due are %v", o.due)
	}
}

// TestEndedAgainAndAgain has sockets of one unit end all the time: it is not looked at all the time.
func TestEndedAgainAndAgain(t *testing.T) {
	t.Parallel()
	s, o := newSky(t, "one")
	o.Ended("one")
	if at, due := o.nextDue(); !due || !at.IsZero() {
		t.Errorf("a unit that was never seen is due at %v", at)
	}
	o.mu.Lock()
	clear(o.due)
	o.mu.Unlock()
	s.show("one", api.StatusHealthy)
	if _, err := o.Show(t.Context(), s.views["one"]); err != nil {
		t.Fatal(err)
	}
	o.Ended("one")
	if at, due := o.nextDue(); !due || !at.Equal(o.units["one"].taken.Add(settle)) {
		t.Errorf("a unit that was just seen is due at %v", at)
	}
	o.Poke("one")
	o.Ended("one")
	if at, _ := o.nextDue(); time.Until(at) > pokePause {
		t.Errorf("a unit that is due soon is due at %v", at)
	}
}

// TestHint tells an observer what happened before and after its look at a unit: only the latter is worth another one.
func TestHint(t *testing.T) {
	t.Parallel()
	s, o := newSky(t, "one")
	s.show("one", api.StatusHealthy)
	o.Hint("one", time.Now())
	if _, due := o.nextDue(); !due {
		t.Error("a unit that was never seen is not due")
	}
	o.mu.Lock()
	clear(o.due)
	o.mu.Unlock()
	before := time.Now()
	if _, err := o.Show(t.Context(), s.views["one"]); err != nil {
		t.Fatal(err)
	}
	o.Hint("one", before.Add(-time.Millisecond))
	if at, due := o.nextDue(); due {
		t.Errorf("a unit that was seen since is due at %v", at)
	}
	o.Hint("one", time.Now())
	if _, due := o.nextDue(); !due {
		t.Error("a unit to which something happened since is not due")
	}
}
