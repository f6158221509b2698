package simulator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Add lets n random events happen now: they head the list. It returns them, oldest first.
func (f *Flatpeak) Add(n int) []Event {
	return f.AddAt(f.now(), make([]string, n)...)
}

// AddLate lets one random event become visible now that happened d ago: it is listed behind the head.
func (f *Flatpeak) AddLate(d time.Duration) Event {
	return f.AddAt(f.now().Add(-d), "")[0]
}

// AddAt adds an event of each of these types at t, to the second, and returns them, oldest first. An empty type is a random
// one. Events of one second stand in the order in which they were added.
func (f *Flatpeak) AddAt(t time.Time, types ...string) []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	added := make([]*entry, len(types))
	for i, typ := range types {
		added[i] = f.make(t, typ)
	}
	f.list.insert(added...)
	return events(added)
}

// AddRaw adds an item as it is given: one without an id, one that is not an object, a huge one, another one with an old id.
// It must be valid JSON for the page to be. The id is what cursors and GET /events/{id} find it by.
func (f *Flatpeak) AddRaw(t time.Time, id, typ string, raw []byte) Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	e := &entry{Event: Event{ID: id, Type: typ, Time: t.UTC().Truncate(time.Second), Raw: slices.Clone(raw)}, seq: f.seq}
	f.list.insert(e)
	return e.Event
}

// Backfill adds n random events that happened at random moments of the time before now, many of them in the same seconds.
func (f *Flatpeak) Backfill(n int, over time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	times := make([]time.Time, n)
	for i := range times {
		if i > 0 && f.arrivals.IntN(4) == 0 {
			times[i] = times[i-1] // one action of a customer makes several events
		} else {
			times[i] = now.Add(-time.Duration(f.arrivals.Float64() * float64(over))).Truncate(time.Second)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	added := make([]*entry, n)
	for i, t := range times {
		added[i] = f.make(t, "")
	}
	f.list.insert(added...)
}

// Run lets events happen at random moments, rate a second on average, until ctx ends; then it returns nil. The fault "late"
// says how many of them are listed behind the head, and how far.
func (f *Flatpeak) Run(ctx context.Context, rate float64) error {
	if !(rate > 0 && rate <= maxRate) {
		return fmt.Errorf("events can't arrive at a rate of %v a second; give one above 0 and up to %d", rate, maxRate)
	}
	next := time.Now()
	for {
		f.mu.Lock()
		gap := f.arrivals.ExpFloat64() / rate
		f.mu.Unlock()
		next = next.Add(time.Duration(min(gap, maxGap) * float64(time.Second)))
		if !wait(ctx, time.Until(next)) {
			return nil
		}
		if late := f.lateness(); late > 0 {
			f.AddLate(late)
		} else {
			f.Add(1)
		}
	}
}

const (
	maxRate = 100_000
	maxGap  = 1e9 // seconds; keeps a tiny rate from overflowing a Duration
)

// lateness draws how late an arrival is listed; 0 is in time.
func (f *Flatpeak) lateness() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	late := f.faults.Late.For
	if !f.strikes(&f.faults.Late, "late") {
		return 0
	}
	return min(late, time.Second+time.Duration(f.arrivals.Float64()*float64(late)))
}

// Events returns all events, those behind Faults.Keep too, newest first as the API would list them.
func (f *Flatpeak) Events() []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := events(f.list.entries)
	slices.Reverse(all)
	return all
}

func events(entries []*entry) []Event {
	all := make([]Event, len(entries))
	for i, e := range entries {
		all[i] = e.Event
	}
	return all
}

// make makes the next event, at t; f.mu is held. It depends on the seed, on how many were made before, on t and on the
// faults that concern new events, and on nothing else.
func (f *Flatpeak) make(t time.Time, typ string) *entry {
	f.seq++
	m := flatpeakMaker{
		r: rand.New(rand.NewPCG(f.seed, f.seq<<8)), seed: f.seed, account: f.account, live: f.live,
		at: t.UTC().Truncate(time.Second),
	}
	undated, unknown := f.faults.NoTime, f.faults.Unknown
	if !f.plain && undated.never() {
		undated.Share = usualUndated
	}
	if !f.plain && unknown.never() {
		unknown.Share = usualUnknown
	}
	if m.undated = undated.strikes(m.r); m.undated && !f.faults.NoTime.never() {
		f.stats.Faults["notime"]++
	}
	strange := unknown.strikes(m.r)
	if typ == "" {
		typ = m.drawType(strange)
	}
	f.faults.NoTime.Next, f.faults.Unknown.Next = undated.Next, unknown.Next
	e := m.event(typ)
	e.seq = f.seq
	return e
}

// The shares of odd events that every account has, unless Options.Plain or Faults say otherwise.
const (
	usualUndated = 0.02
	usualUnknown = 0.01
)
