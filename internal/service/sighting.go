package service

import (
	"slices"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// settle is for how long something must be worse until it is told. A reload breaks a channel for some 6 ms, public ports are
// bound some ms after the client came, and one dump of the kernel's sockets may miss one: that is no news. What is better
// is told at once.
const settle = 250 * time.Millisecond

// The aspects of a unit, about each of which one thing is told at a time.
const (
	link = iota
	ports
	local
	status
	aspects
)

// sighting is what an Observer remembers of a unit.
type sighting struct {
	uid     string    // of the record
	born    time.Time // when it was first heard of
	taken   time.Time // when the newest look at it began
	seen    Observed
	stopped bool
	// told is the last event of each aspect, empty if none; worse is what will be told if it lasts.
	told  [aspects]api.EventType
	worse [aspects]worsening
	// whole tells that every event of the unit's life was heard. Of another unit, such as one whose creation is older than the
	// journal, the first look finds out silently how it is.
	whole bool
}

type worsening struct {
	word  api.EventType
	since time.Time
}

// fact is what is so, and deserves an event if it was not so before.
type fact struct {
	word    api.EventType // empty: nothing to tell
	reason  string
	message string
}

// Heard takes note of an event that is in the journal already, or was just added: of earlier runs of the service, or of
// the supervisor.
func (o *Observer[S]) Heard(e api.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.units[e.ServerID]
	switch e.Type {
	case api.EventCreated:
		o.units[e.ServerID] = &sighting{born: e.Time, whole: true}
		return
	case api.EventRemoved:
		delete(o.units, e.ServerID)
		return
	}
	aspect, told := aspectOf(e.Type)
	if !told {
		return
	}
	if s == nil {
		s = &sighting{born: e.Time}
		o.units[e.ServerID] = s
	}
	s.told[aspect] = e.Type
}

func aspectOf(t api.EventType) (aspect int, ok bool) {
	switch t {
	case api.EventConnected, api.EventClientLost, api.EventServerLost:
		return link, true
	case api.EventPortStolen:
		return ports, true
	case api.EventLocalReachable, api.EventLocalUnreachable:
		return local, true
	case api.EventHealthy, api.EventDegraded, api.EventDown:
		return status, true
	}
	return 0, false
}

// record takes over what a look has found of a unit, tells what has changed, and returns it with times. What a look that
// began earlier has found is not news.
func (o *Observer[S]) record(v supervisor.View[S], taken time.Time, assess Assess[S], eye Eye) Observed {
	now := assess(v, eye)
	if !eye.Explain && o.mayBeNews(v, now) {
		eye.Explain = true
		now = assess(v, eye)
	}
	id := v.Record.ID
	// From here on nothing is called that may wait for the supervisor, which tells of its events while it holds a unit.
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.units[id]
	if s == nil || (s.uid != "" && s.uid != v.Record.UID && taken.After(s.taken)) {
		s = &sighting{born: taken}
		o.units[id] = s
	}
	stamp(now.Conditions, s.seen.Conditions)
	if taken.Before(s.taken) || taken.Before(s.born) || v.Record.Desired == supervisor.Absent {
		return now
	}
	first := s.uid == ""
	s.uid, s.taken, s.seen, s.stopped = v.Record.UID, taken, now, eye.Stopped
	facts := factsOf(now, s.told)
	if s.told[status] == "" && begins(v) {
		facts[status] = fact{} // it is down because it is new: no news
	}
	for aspect, f := range facts {
		if first && !s.whole && s.told[aspect] == "" {
			s.told[aspect] = f.word
		}
		if !s.isNews(aspect, f.word, taken) {
			continue
		}
		s.told[aspect] = f.word
		if f.word != "" {
			o.cfg.Tell(api.Event{ServerID: id, Type: f.word, Reason: f.reason, Message: f.message})
		}
	}
	if soon, ok := s.confirm(); ok {
		o.dueBy(id, soon)
		o.nudge()
	}
	return now
}

// mayBeNews tells whether what was seen of a unit differs from what was told of it, so that it deserves messages.
func (o *Observer[S]) mayBeNews(v supervisor.View[S], now Observed) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.units[v.Record.ID]
	if s == nil {
		return false // the first look at what was there before tells nothing
	}
	for aspect, f := range factsOf(now, s.told) {
		if f.word != s.told[aspect] && (s.whole || s.uid != "" || s.told[aspect] != "") {
			return true
		}
	}
	return false
}

// begins tells whether a unit's first process is on its way.
func begins[S any](v supervisor.View[S]) bool {
	return v.Failure == nil && v.Restarts == 0 && (v.Phase == supervisor.PhasePending || v.Phase == supervisor.PhaseStarting)
}

// isNews decides whether what is so is to be told now.
func (s *sighting) isNews(aspect int, word api.EventType, taken time.Time) bool {
	w := &s.worse[aspect]
	switch {
	case word == s.told[aspect]:
		*w = worsening{}
		return false
	case !isWorse(word):
		*w = worsening{}
		return true
	case w.word != word:
		*w = worsening{word: word, since: taken}
		return false
	case taken.Sub(w.since) < settle:
		return false
	default:
		*w = worsening{}
		return true
	}
}

// confirm is when the unit must be looked at again to see whether something worse has lasted.
func (s *sighting) confirm() (at time.Time, needed bool) {
	for _, w := range s.worse {
		if w.word != "" && (!needed || w.since.Add(settle).Before(at)) {
			at, needed = w.since.Add(settle), true
		}
	}
	return at, needed
}

func isWorse(word api.EventType) bool {
	switch word {
	case "", api.EventConnected, api.EventLocalReachable, api.EventHealthy:
		return false
	}
	return true
}

// stamp gives each condition the time since when it has its status.
func stamp(now, before []api.Condition) {
	for i, c := range now {
		now[i].LastTransition = time.Now().UTC()
		for _, b := range before {
			if b.Type == c.Type && b.Status == c.Status {
				now[i].LastTransition = b.LastTransition
			}
		}
	}
}

// factsOf tells what is so, given what was told: what cannot be known stays as it was told.
func factsOf(o Observed, told [aspects]api.EventType) [aspects]fact {
	facts := [aspects]fact{status: statusFact(o)}
	for _, aspect := range []int{link, local} {
		facts[aspect].word = told[aspect]
	}
	connected := false
	for _, c := range o.Conditions {
		switch c.Type {
		case api.ClientConnected, api.Connected:
			connected = true
			facts[link] = linkFact(c, told[link])
		case api.LocalReachable:
			facts[local] = localFact(c, told[local])
		case api.PortsListening:
			if c.Reason == string(api.EventPortStolen) {
				facts[ports] = fact{api.EventPortStolen, "", c.Message}
			} else if c.Status == api.Unknown {
				facts[ports].word = told[ports]
			}
		}
	}
	if !connected && o.Status == api.StatusDisabled {
		facts[link] = fact{} // stopped on purpose, which was told
	}
	return facts
}

func linkFact(c api.Condition, told api.EventType) fact {
	lost := api.EventClientLost
	if c.Type == api.Connected {
		lost = api.EventServerLost
	}
	switch {
	case c.Status == api.True:
		return fact{api.EventConnected, "", c.Message}
	case c.Status == api.Unknown || told == "":
		return fact{word: told} // what never was cannot be lost
	default:
		return fact{lost, c.Reason, c.Message}
	}
}

func localFact(c api.Condition, told api.EventType) fact {
	switch {
	case c.Status == api.False:
		return fact{api.EventLocalUnreachable, c.Reason, c.Message}
	case c.Status == api.True && told == api.EventLocalUnreachable:
		return fact{api.EventLocalReachable, "", c.Message}
	default:
		return fact{word: told}
	}
}

// statusFact has the reason of the first condition that is missing.
func statusFact(o Observed) fact {
	f := fact{}
	switch o.Status {
	case api.StatusHealthy:
		return fact{word: api.EventHealthy}
	case api.StatusDegraded:
		f.word = api.EventDegraded
	case api.StatusDown:
		f.word = api.EventDown
	default:
		return fact{}
	}
	if i := slices.IndexFunc(o.Conditions, func(c api.Condition) bool { return c.Status == api.False }); i >= 0 {
		f.reason, f.message = o.Conditions[i].Reason, o.Conditions[i].Message
	}
	return f
}

// keepFor is how long a unit is remembered of which no list tells: its creation is heard of before it is listed.
const keepFor = time.Minute

// keep forgets the units that are gone: all but these.
func (o *Observer[S]) keep(views []supervisor.View[S], listed time.Time) {
	here := make(map[string]struct{}, len(views))
	for _, v := range views {
		here[v.Record.ID] = struct{}{}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, s := range o.units {
		if _, ok := here[id]; !ok && listed.Sub(s.born) > keepFor {
			delete(o.units, id)
		}
	}
}

func (o *Observer[S]) wasStopped(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.units[id]
	return s != nil && s.stopped
}
